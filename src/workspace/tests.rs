//! What workspaces promise, as copies and as overlays.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::time::{Duration, SystemTime};

use super::*;
use crate::patch::FileKind;
use crate::task::Source;

/// With this variable set, the workshops of these tests are overlaid.
const OVERLAID: &str = "REGREEN_TEST_OVERLAYS";

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what they are to try")]
fn wanted(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// A repository with everything that is easily lost on the way.
fn odd_repository(root: &Path) {
    let repository = git2::Repository::init(root).unwrap();
    fs::write(root.join(".gitignore"), "ignored/\n*.log\n").unwrap();
    fs::create_dir_all(root.join("ignored/deep")).unwrap();
    fs::write(root.join("ignored/deep/tracked"), "tracked although ignored").unwrap();
    fs::write(root.join("ignored/junk"), "junk").unwrap();
    fs::write(root.join("crlf.txt"), "one\r\ntwo\r\n").unwrap();
    fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("crlf.txt", root.join("link")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"caf\xe9.txt")), "latin").unwrap();
    fs::create_dir_all(root.join("empty/inner")).unwrap();
    let mut index = repository.index().unwrap();
    for path in [Path::new("ignored/deep/tracked"), Path::new("crlf.txt"), Path::new("link")] {
        index.add_path(path).unwrap();
    }
    index.write().unwrap();
    fs::write(root.join("untracked.txt"), "new").unwrap();
    fs::write(root.join("noise.log"), "noise").unwrap();
}

fn workshop(root: &Path, cache: &Path) -> Workshop {
    let scratch = Scratch::new(cache).unwrap();
    let source = Source { path: root.to_str().unwrap().to_owned(), rev: None };
    let snapshot = take(&source, Path::new("/"), false, &scratch).unwrap();
    if !wanted(OVERLAID) {
        return Workshop::new(scratch, snapshot);
    }
    mounts::have_entered();
    let workshop = Workshop::overlaid(scratch, snapshot).unwrap();
    assert!(workshop.overlays(), "overlays do not work here");
    workshop
}

/// Runs the other tests of this file once more as a user, in a mount namespace, with overlays.
#[expect(clippy::disallowed_methods, reason = "the tests are not regreen's child")]
fn with_overlays(user: u32) {
    let folder = tempfile::tempdir().unwrap();
    // Where the tests were built may be closed to others.
    let tests = folder.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    for path in [folder.path(), &tests] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = std::process::Command::new("unshare");
    if user != 0 {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    if nix::unistd::getuid().is_root() {
        command.uid(user).gid(user);
    }
    command
        .arg("--mount")
        .arg(&tests)
        .args(["workspace::tests::", "--skip", "overlays_keep"])
        .env(OVERLAID, "1");
    let output =
        command.env("HOME", folder.path()).env("TMPDIR", "/var/tmp").current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && !said.contains(" 0 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn overlays_keep_the_same_promises() {
    with_overlays(nix::unistd::getuid().as_raw());
}

#[test]
fn overlays_keep_the_same_promises_to_an_ordinary_user() {
    with_overlays(61_002);
}

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

#[test]
fn a_working_copy_survives_the_trip_and_stays_untouched() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = repository.path();
    odd_repository(root);
    let index = fs::read(root.join(".git/index")).unwrap();
    let workshop = workshop(root, cache.path());
    let workspace = workshop.workspace().unwrap();
    let tree = workspace.tree();
    assert_eq!(fs::read(tree.join("crlf.txt")).unwrap(), b"one\r\ntwo\r\n");
    assert_eq!(fs::metadata(tree.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("crlf.txt"));
    assert_eq!(fs::read(tree.join(OsStr::from_bytes(b"caf\xe9.txt"))).unwrap(), b"latin");
    assert!(tree.join("empty/inner").is_dir() && tree.join("untracked.txt").exists());
    assert!(tree.join("ignored/deep/tracked").exists());
    assert!(!tree.join("ignored/junk").exists() && !tree.join("noise.log").exists());
    let history = git2::Repository::open(&tree).unwrap();
    let head = history.head().unwrap().peel_to_commit().unwrap();
    assert_eq!((head.parent_count(), history.references().unwrap().count()), (0, 1));
    let mut parts: Vec<_> =
        fs::read_dir(tree.join(".git")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    parts.sort();
    assert_eq!(parts, ["HEAD", "config", "index", "objects", "refs"], "git's folder holds what nobody needs");
    assert_eq!(fs::read(root.join(".git/index")).unwrap(), index);
}

#[test]
fn a_workspace_shows_what_was_changed_in_it_and_the_next_one_does_not() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    odd_repository(repository.path());
    let workshop = workshop(repository.path(), cache.path());
    let workspace = workshop.workspace().unwrap();
    assert_eq!(workspace.changes(&workshop.snapshot).unwrap(), Patch::default());
    let patch = Patch(
        [
            (path("crlf.txt"), Some(File::plain("one\r\n2\r\n"))),
            (path("link"), None),
            (path("new/deep.rs"), Some(File { kind: FileKind::Executable, content: b"x".to_vec() })),
        ]
        .into(),
    );
    workspace.apply(&patch).unwrap();
    fs::write(workspace.tree().join("junk.log"), "ignored").unwrap();
    assert_eq!(workspace.changes(&workshop.snapshot).unwrap(), patch);
    drop(workspace);
    let next = workshop.workspace().unwrap();
    assert_eq!(next.changes(&workshop.snapshot).unwrap(), Patch::default());
}

#[test]
fn a_patch_never_writes_through_a_link() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    git2::Repository::init(repository.path()).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "before").unwrap();
    symlink(outside.path(), repository.path().join("folder")).unwrap();
    symlink(outside.path().join("file"), repository.path().join("file")).unwrap();
    let workshop = workshop(repository.path(), cache.path());
    let workspace = workshop.workspace().unwrap();
    let through = Patch([(path("folder/file"), Some(File::plain("after")))].into());
    assert!(workspace.apply(&through).is_err());
    let replaced = Patch([(path("file"), Some(File::plain("after")))].into());
    workspace.apply(&replaced).unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "before");
    assert!(read_beneath(&workspace.tree(), "folder/file", 10).is_err());
    assert_eq!(workshop.snapshot.file(&path("folder/file")).unwrap(), None);
}

#[test]
fn a_file_may_take_the_place_of_a_folder_that_a_patch_empties() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    git2::Repository::init(repository.path()).unwrap();
    fs::create_dir_all(repository.path().join("data/deep")).unwrap();
    for name in ["data/one", "data/deep/two"] {
        fs::write(repository.path().join(name), "x").unwrap();
    }
    let workshop = workshop(repository.path(), cache.path());
    let workspace = workshop.workspace().unwrap();
    let link = Some(File { kind: FileKind::Link, content: b"elsewhere".to_vec() });
    let mut patch = Patch([(path("data"), link), (path("data/one"), None)].into());
    assert!(workspace.apply(&patch).is_err(), "something is left in the folder");
    drop(workspace);
    let workspace = workshop.workspace().unwrap();
    patch.0.insert(path("data/deep/two"), None);
    workspace.apply(&patch).unwrap();
    assert_eq!(workspace.changes(&workshop.snapshot).unwrap(), patch);
    // And back again.
    let back = Patch([(path("data"), None), (path("data/one"), Some(File::plain("y")))].into());
    workspace.apply(&back).unwrap();
    assert_eq!(fs::read_to_string(workspace.tree().join("data/one")).unwrap(), "y");
}

#[test]
fn what_set_up_left_is_kept_and_what_it_changed_of_the_base_is_not() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    odd_repository(repository.path());
    let mut workshop = workshop(repository.path(), cache.path());
    let first = workshop.workspace().unwrap();
    fs::write(first.home().join("cached"), "dependency").unwrap();
    fs::write(first.tree().join("crlf.txt"), "spoiled").unwrap();
    fs::create_dir(first.tree().join("target")).unwrap();
    fs::remove_file(first.tree().join("run.sh")).unwrap();
    fs::remove_dir_all(first.tree().join("empty")).unwrap();
    fs::create_dir(first.tree().join("empty")).unwrap();
    fs::create_dir(first.tree().join(".git/hooks")).unwrap();
    let (root, places) = (first.root().to_owned(), first.places());
    workshop.keep(first).unwrap();
    let second = workshop.workspace().unwrap();
    assert_eq!((second.root(), second.places()), (root.as_path(), places));
    assert!(second.home().join("cached").exists() && second.tree().join("target").is_dir());
    assert_eq!(fs::read(second.tree().join("crlf.txt")).unwrap(), b"one\r\ntwo\r\n");
    assert!(second.tree().join("run.sh").exists() && second.tree().join("empty/inner").is_dir());
    assert!(!second.tree().join(".git/hooks").exists() && second.tree().join(".git/HEAD").exists());
    assert_eq!(second.changes(&workshop.snapshot).unwrap(), Patch::default());
    let time = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    let (kept, base) = (second.tree().join("crlf.txt"), workshop.snapshot.root.join("crlf.txt"));
    assert_eq!(time(kept), time(base));
}

#[test]
fn several_workspaces_live_at_once_and_none_sees_another() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    odd_repository(repository.path());
    let workshop = workshop(repository.path(), cache.path());
    let eight: Vec<Workspace> = (0..8).map(|_| workshop.workspace().unwrap()).collect();
    for (number, workspace) in eight.iter().enumerate() {
        fs::write(workspace.tree().join("own"), number.to_string()).unwrap();
        fs::write(workspace.home().join("own"), number.to_string()).unwrap();
    }
    for (number, workspace) in eight.iter().enumerate() {
        assert_eq!(fs::read_to_string(workspace.tree().join("own")).unwrap(), number.to_string());
        assert_eq!(fs::read_dir(workspace.home()).unwrap().count(), 1);
    }
    let roots: Vec<PathBuf> = eight.iter().map(|workspace| workspace.root().to_owned()).collect();
    drop(eight);
    assert!(roots.iter().all(|root| !root.exists()), "a workspace was left behind");
    assert!(!workshop.snapshot.root.join("own").exists(), "the base was written");
}

#[test]
fn a_fork_begins_where_its_workspace_is_and_goes_its_own_way() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    odd_repository(repository.path());
    let workshop = workshop(repository.path(), cache.path());
    let mut workspace = workshop.workspace().unwrap();
    let patch = Patch([(path("crlf.txt"), Some(File::plain("built")))].into());
    workspace.apply(&patch).unwrap();
    fs::write(workspace.tree().join("built"), "artefact").unwrap();
    let fork = workshop.fork(&mut workspace).unwrap();
    fs::write(fork.tree().join("built"), "poisoned").unwrap();
    fs::remove_file(fork.tree().join("crlf.txt")).unwrap();
    assert_eq!(fs::read_to_string(workspace.tree().join("built")).unwrap(), "artefact");
    let next = workshop.fork(&mut workspace).unwrap();
    assert_eq!(fs::read_to_string(next.tree().join("built")).unwrap(), "artefact");
    assert_eq!(fs::read_to_string(next.tree().join("crlf.txt")).unwrap(), "built");
    let changed = workspace.changes(&workshop.snapshot).unwrap();
    assert_eq!(changed.0.keys().map(ToString::to_string).collect::<Vec<_>>(), ["built", "crlf.txt"]);
    assert_eq!(fs::read_dir(workshop.workspace().unwrap().home()).unwrap().count(), 0);
}

#[test]
fn whatever_was_moved_replaced_or_removed_is_told() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = repository.path();
    odd_repository(root);
    fs::create_dir_all(root.join("lib/deep")).unwrap();
    for name in ["lib/a", "lib/deep/b", "lib/deep/c", "doc"] {
        fs::write(root.join(name), name).unwrap();
    }
    let workshop = workshop(root, cache.path());
    let workspace = workshop.workspace().unwrap();
    let tree = workspace.tree();
    // A folder goes, and comes again with less in it; a file becomes a folder, and a folder a file.
    fs::remove_dir_all(tree.join("lib")).unwrap();
    fs::create_dir_all(tree.join("lib/deep")).unwrap();
    fs::write(tree.join("lib/deep/c"), "lib/deep/c").unwrap();
    fs::remove_file(tree.join("doc")).unwrap();
    fs::create_dir(tree.join("doc")).unwrap();
    fs::write(tree.join("doc/index"), "new").unwrap();
    fs::remove_dir_all(tree.join("empty")).unwrap();
    fs::write(tree.join("empty"), "a file").unwrap();
    fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    let patch = Patch(
        [
            (path("lib/a"), None),
            (path("lib/deep/b"), None),
            (path("doc"), None),
            (path("doc/index"), Some(File::plain("new"))),
            (path("empty"), Some(File::plain("a file"))),
            (path("run.sh"), Some(File::plain("#!/bin/sh\n"))),
        ]
        .into(),
    );
    assert_eq!(workspace.changes(&workshop.snapshot).unwrap(), patch);
}

#[test]
fn what_a_patch_touches_is_new_and_what_it_does_not_is_as_old_as_before() {
    let (repository, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    odd_repository(repository.path());
    let old = SystemTime::now() - Duration::from_hours(24);
    for name in ["crlf.txt", "run.sh"] {
        let file = fs::File::options().write(true).open(repository.path().join(name)).unwrap();
        file.set_modified(old).unwrap();
    }
    let workshop = workshop(repository.path(), cache.path());
    let workspace = workshop.workspace().unwrap();
    // The same bytes even: a build tool that looks at times must look at the file again.
    let patch = Patch([(path("crlf.txt"), Some(File::plain("one\r\ntwo\r\n")))].into());
    workspace.apply(&patch).unwrap();
    let age = |name: &str| {
        let data = fs::metadata(workspace.tree().join(name)).unwrap();
        SystemTime::now().duration_since(data.modified().unwrap()).unwrap().as_secs()
    };
    assert!(age("crlf.txt") < 3600 && age("run.sh") >= 86_400, "{} {}", age("crlf.txt"), age("run.sh"));
}

#[test]
fn the_scratch_folder_of_a_killed_run_is_swept_and_that_of_a_live_one_is_not() {
    let cache = tempfile::tempdir().unwrap();
    let live = Scratch::new(cache.path()).unwrap();
    let dead = cache.path().join("run-dead");
    fs::create_dir_all(dead.join("base")).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    let other = Scratch::new(cache.path()).unwrap();
    assert!(live.folder.exists() && other.folder.exists() && !dead.exists());
    let gone = live.folder.clone();
    drop(live);
    assert!(!gone.exists());
}

#[test]
fn a_revision_is_taken_without_touching_the_working_copy() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = git2::Repository::init(folder.path()).unwrap();
    fs::write(folder.path().join("a"), "old").unwrap();
    let mut index = repository.index().unwrap();
    index.add_path(Path::new("a")).unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let author = git2::Signature::now("a", "a@b").unwrap();
    repository.commit(Some("HEAD"), &author, &author, "m", &tree, &[]).unwrap();
    fs::write(folder.path().join("a"), "new").unwrap();
    for address in [folder.path().to_str().unwrap().to_owned(), format!("file://{}", folder.path().display())]
    {
        let scratch = Scratch::new(cache.path()).unwrap();
        let source = Source { path: address, rev: Some("HEAD".into()) };
        let snapshot = take(&source, Path::new("/"), false, &scratch).unwrap();
        assert_eq!(snapshot.file(&path("a")).unwrap(), Some(File::plain("old")));
    }
    assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "new");
}
