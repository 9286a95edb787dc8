//! Judging stored answers again from the outside: nobody is asked, the old run stays as it is, and what the verifier
//! says now stands beside what it said.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::bench::{Place, assert_status, said};
use crate::regreen_command;

fn regrade(place: &Place, arguments: &[&str]) -> Output {
    let mut command = regreen_command();
    command.arg("regrade").args(arguments).args(["--cache", "cache"]).current_dir(place.path(""));
    command.output().unwrap()
}

/// Every file of a run, with what it holds.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn stored_answers_are_judged_again_without_asking_anybody() {
    let place = Place::new(&["a", "b"]);
    place.task("c", "Sums are wrong.", "setup = [{ argv = [\"false\"] }]");
    // An agent that a second run could not ask: it is gone by then.
    let agent = place.path("agent");
    fs::write(&agent, "#!/bin/sh\nprintf '# Adds two numbers.\\necho $(($1 + $2))\\n' > add.sh\n").unwrap();
    fs::set_permissions(&agent, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let model = format!("command:{}", agent.display());
    let models = ["set", "--model", "oracle-noise", "--model", &model, "--run", "run"];
    assert_status(&place.bench(&[models.as_slice(), &["--attempts", "3", "--seed", "3"]].concat()), 6);
    let (before, old) = (place.report("run"), content(&place.path("run")));
    fs::remove_file(&agent).unwrap();
    let done = regrade(&place, &["run"]);
    // The unit that had no result has none now.
    assert_status(&done, 6);
    assert!(old == content(&place.path("run")), "the old run was changed");
    let after = place.report("run-regraded");
    for (one, other) in
        before["contestants"].as_array().unwrap().iter().zip(after["contestants"].as_array().unwrap())
    {
        for same in ["model", "units", "conclusive", "solved", "answers", "noise", "classes"] {
            assert_eq!(one[same], other[same], "{same}");
        }
    }
    let agents = &before["contestants"][1];
    assert_eq!((&agents["solved"], &agents["inconclusive"]), (&2.into(), &1.into()), "{agents}");
    let table = String::from_utf8(done.stdout).unwrap();
    assert!(table.contains("run-regraded: oracle-noise") && table.contains("cannot carry"), "{table}");
    // A second time it makes a third run, and where a run lies already it makes none.
    assert_status(&regrade(&place, &["run"]), 6);
    assert!(place.path("run-regraded-2/lock.json").is_file());
    let taken = regrade(&place, &["run", "--to", "run-regraded"]);
    assert_status(&taken, 2);
    assert!(said(&taken).contains("is there already"), "{}", said(&taken));
}

#[test]
fn what_has_changed_since_changes_the_verdict() {
    let place = Place::new(&["a"]);
    assert_status(&place.bench(&["set", "--model", "gold", "--run", "run"]), 0);
    // The tests were mended: what passed for right is not.
    let tests = place.path("set/a/repo/test.sh");
    let stricter = fs::read_to_string(&tests).unwrap().replace("1..2", "1..3")
        + "check '3 - takes three' \"$(sh add.sh 1 2 3)\" 6\n";
    fs::write(&tests, stricter).unwrap();
    assert_status(&regrade(&place, &["run", "--to", "again"]), 0);
    let solved = |run: &str| place.report(run)["contestants"][0]["solved"].clone();
    assert_eq!((solved("run"), solved("again")), (1.into(), 0.into()));
    // It goes on like any other.
    assert_status(&place.bench(&["--resume", "again"]), 0);
}
