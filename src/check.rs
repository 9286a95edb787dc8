//! A check measures a repository before anybody lets a loop run on it: how steady its tests are and how long they take,
//! which lines they run and how many small wrong changes they notice, which level a verdict can reach with them, and
//! what would raise it most. It changes nothing and judges nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::leak::{Place, Strength, percent, places, wilson};
use crate::patch::{FileKind, Patch, RepoPath};
use crate::record::Cause;
use crate::repair::grammar::Grammars;
use crate::repair::mutate::Source;
use crate::strength::{self, Bounds, Lines, Question};
use crate::text::{list, one_line};
use crate::verdict::{Baseline, Layer, LayerName, LayerResult, Level, TestId, TestRun, Verdict};
use crate::verify::{self, Case, Say, Trouble, Verifier, count};

/// The format number of a report.
pub const FORMAT: u32 = 1;

/// Lines that are looked at for every mutant that is tried: not every line can have one.
const LINES: usize = 3;

/// Product files that are looked at, and the largest of them in bytes.
const FILES: usize = 2000;
const LARGEST: usize = 1 << 20;

/// Passing tests that stand for targets when the level is tried.
const TARGETS: usize = 10;

/// Seconds of one run of the tests above which they are said to be slow.
const SLOW: f64 = 60.0;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs of the tests.
    pub runs: usize,
    /// Mutants that are tried; 0 for none.
    pub mutants: usize,
    /// Time for them.
    pub time: Duration,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// regreen's version.
    pub version: String,
    /// Git tree id of what was measured.
    pub tree: String,
    /// The sandbox level that the runs had.
    pub sandbox: String,
    /// The suites, and how many tests each has.
    pub suites: Vec<Inventory>,
    /// Wall time of each run in seconds, build included where the toolchain builds as it tests.
    pub seconds: Vec<f64>,
    /// Whether everything builds.
    pub built: bool,
    /// Tests that passed in every run.
    pub passing: usize,
    /// Tests that failed in every run.
    pub failing: BTreeSet<TestId>,
    /// Tests that did not do the same in all runs.
    pub flaky: BTreeSet<TestId>,
    /// Tests that are disabled.
    pub disabled: BTreeSet<TestId>,
    /// The lines that tests run; `None` where it cannot be told.
    pub coverage: Option<Coverage>,
    /// Small wrong changes of a sample of the product's lines, of those that tests run where that is known.
    pub strength: Strength,
    /// The level that a verdict can reach with these tests; `None` if they cannot pass on the untouched base.
    pub level: Option<Level>,
    /// The verifier's word on the untouched base.
    pub word: String,
    /// What each layer of the verifier said of it.
    pub layers: Vec<Layer>,
    /// What would raise the worth of a verdict here, most first.
    pub advice: Vec<String>,
}

/// A folder's suites and their tests. Suites of one folder are told together: their tests have names alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// The suites.
    pub suites: String,
    /// How many tests they have.
    pub tests: usize,
}

/// Which lines tests run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Lines of functions on which a statement begins.
    pub lines: usize,
    /// Of these, those that a test runs.
    pub covered: usize,
    /// Those that no test runs, by file.
    pub uncovered: BTreeMap<String, BTreeSet<u32>>,
}

/// Measures a repository, red or green.
pub async fn check(
    verifier: &mut Verifier,
    grammars: &Grammars,
    effort: Effort,
    say: Say<'_>,
) -> Result<Result<Report, Trouble>> {
    if let Some(trouble) = verify::prepare(verifier, say).await? {
        return Ok(Err(trouble));
    }
    let verifier: &Verifier = verifier;
    let (runs, seconds) = repeated(verifier, effort.runs, say).await?;
    let baseline = verify::sorted(runs);
    if baseline.run.tests.is_empty() {
        return Ok(Err(Trouble {
            cause: Cause::NoTests,
            detail: "the suite ran, and reported no test".to_owned(),
            remedy: "add a test, or say how to test with --test-cmd".to_owned(),
        }));
    }
    let code = code_lines(verifier, grammars)?;
    let tree = Patch::default();
    let question = Question {
        verifier,
        grammars,
        baseline: &baseline,
        tree: &tree,
        lines: &code,
        bounds: Bounds { mutants: effort.mutants, time: effort.time },
    };
    say("looking which lines the tests run");
    let covered = strength::coverage(&question, &baseline.guards).await?;
    let coverage = covered.as_ref().map(|covered| Coverage::of(&code, covered));
    let run = covered.map_or_else(|| code.clone(), |covered| both(&code, &covered));
    let sample = sampled(&run, effort.mutants * LINES);
    let strength = if effort.mutants == 0 {
        Strength { note: "no mutants were asked for".to_owned(), ..Strength::default() }
    } else {
        strength::measure(&Question { lines: &sample, ..question }, say).await?
    };
    let (verdict, layers) = tried(verifier, &baseline, say).await?;
    let mut report = Report {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tree: verifier.workshop.snapshot.tree.clone(),
        sandbox: verifier.sandbox.level.to_string(),
        suites: inventory(verifier, &baseline.run),
        seconds,
        built: baseline.run.built,
        passing: baseline.guards.len(),
        failing: baseline.targets,
        flaky: baseline.flaky,
        disabled: baseline.disabled,
        coverage,
        strength,
        level: verdict.level(),
        word: verdict.word(),
        layers,
        advice: Vec::new(),
    };
    report.advice = advice(&report, &verdict);
    Ok(Ok(report))
}

/// Runs the tests of the base several times; what they said and how long each took.
async fn repeated(verifier: &Verifier, runs: usize, say: Say<'_>) -> Result<(Vec<TestRun>, Vec<f64>)> {
    let (mut said, mut seconds) = (Vec::new(), Vec::new());
    for number in 1..=runs {
        say(&format!("testing the base, run {number} of {runs}"));
        let start = Instant::now();
        said.push(verifier.try_tests(&Patch::default(), None).await?);
        seconds.push((start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    }
    Ok((said, seconds))
}

/// The lines of the product's functions on which a statement begins.
fn code_lines(verifier: &Verifier, grammars: &Grammars) -> Result<Lines> {
    let (protected, product) = (verifier.protected()?, verifier.sources()?);
    let mut lines = Lines::new();
    let paths = verifier.workshop.snapshot.paths()?;
    let wanted = |path: &&RepoPath| product.is_match(path.as_str()) && !protected.is_match(path.as_str());
    for path in paths.iter().filter(wanted).take(FILES) {
        let (Some(grammar), Some(file)) =
            (grammars.of(path.as_str()), verifier.workshop.snapshot.file(path)?)
        else {
            continue;
        };
        if file.kind == FileKind::Link || file.content.len() > LARGEST {
            continue;
        }
        let Ok(text) = String::from_utf8(file.content) else { continue };
        if let Some(source) = Source::new(path.clone(), text, grammar) {
            lines.insert(path.clone(), source.code_lines());
        }
    }
    Ok(lines)
}

/// The lines that both name.
fn both(one: &Lines, other: &Lines) -> Lines {
    let none = BTreeSet::new();
    let common =
        |(path, lines): (&RepoPath, &BTreeSet<u32>)| (path.clone(), lines & other.get(path).unwrap_or(&none));
    one.iter().map(common).collect()
}

/// At most `most` lines, evenly spread over all.
fn sampled(lines: &Lines, most: usize) -> Lines {
    let all: Vec<(&RepoPath, u32)> =
        lines.iter().flat_map(|(path, lines)| lines.iter().map(move |line| (path, *line))).collect();
    let mut sample = Lines::new();
    for (path, line) in strength::spread(all, most) {
        sample.entry(path.clone()).or_default().insert(line);
    }
    sample
}

impl Coverage {
    fn of(code: &Lines, covered: &Lines) -> Coverage {
        let run = both(code, covered);
        let size = |lines: &Lines| lines.values().map(BTreeSet::len).sum();
        let left = |(path, lines): (&RepoPath, &BTreeSet<u32>)| {
            let left: BTreeSet<u32> = lines - run.get(path)?;
            (!left.is_empty()).then(|| (path.to_string(), left))
        };
        let uncovered = code.iter().filter_map(left).collect();
        Coverage { lines: size(code), covered: size(&run), uncovered }
    }
}

/// How many tests each folder's suites have.
fn inventory(verifier: &Verifier, run: &TestRun) -> Vec<Inventory> {
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for suite in &verifier.suites {
        names.entry(&suite.dir).or_default().push(suite.label());
    }
    let mut tests: BTreeMap<&str, usize> = BTreeMap::new();
    for id in run.tests.keys() {
        let owners = verifier.suites.iter().filter(|suite| suite.own_id(id).is_some());
        // The innermost folder has the longest prefix.
        if let Some(owner) = owners.max_by_key(|suite| suite.dir.len()) {
            *tests.entry(&owner.dir).or_default() += 1;
        }
    }
    let of = |(dir, names): (&str, Vec<String>)| Inventory {
        suites: list(&names, 5),
        tests: tests.get(dir).copied().unwrap_or(0),
    };
    names.into_iter().map(of).collect()
}

/// Judges the untouched base like a patch, some passing tests standing for targets: what the verifier says of it, and
/// how far its layers come.
async fn tried(verifier: &Verifier, baseline: &Baseline, say: Say<'_>) -> Result<(Verdict, Vec<Layer>)> {
    let all: Vec<&TestId> = baseline.guards.iter().collect();
    let targets: BTreeSet<TestId> = strength::spread(all, TARGETS).into_iter().cloned().collect();
    if targets.is_empty() {
        let reasons = vec!["no test passes on the base".to_owned()];
        return Ok((Verdict::Inconclusive { reasons }, Vec::new()));
    }
    let green = Baseline {
        guards: baseline.guards.difference(&targets).cloned().collect(),
        targets,
        unrelated: baseline.targets.union(&baseline.unrelated).cloned().collect(),
        ..baseline.clone()
    };
    let case = Case { baseline: &green, product: &Patch::default(), delivered: None };
    let judgement = verifier.examine(case, say).await?;
    Ok((judgement.verdict, judgement.layers))
}

/// What would raise the worth of a verdict here, at most three pieces of advice, the most useful first. The weights are
/// an order, no more: what keeps a verdict from being reached comes before what keeps it low.
fn advice(report: &Report, verdict: &Verdict) -> Vec<String> {
    let mut all: Vec<(f64, String)> = Vec::new();
    if !report.built {
        all.push((100.0, "the base does not build: mend that first, `regreen fix` may".to_owned()));
    }
    if !report.flaky.is_empty() {
        let names: Vec<&TestId> = report.flaky.iter().collect();
        let tests = count(names.len(), "flaky test");
        all.push((90.0, format!("make the {tests} steady, which decide nothing now: {}", list(&names, 3))));
    }
    if !matches!(verdict, Verdict::Green(_)) {
        let reasons = list(&verdict.reasons(), 2);
        all.push((85.0, format!("the verifier cannot pass the untouched base: {reasons}")));
    }
    all.extend(unattested(report).map(|text| (80.0, text)));
    all.extend(let_live(&report.strength));
    all.extend(report.coverage.as_ref().and_then(not_run));
    if !report.failing.is_empty() {
        let names: Vec<&TestId> = report.failing.iter().collect();
        let fail =
            if names.len() == 1 { "1 test fails".to_owned() } else { format!("{} tests fail", names.len()) };
        all.push((50.0, format!("{fail} and guard nothing: {}; `regreen fix` is for that", list(&names, 3))));
    }
    if report.level.is_some_and(|level| level < Level::HeldOut) {
        let text = "keep some tests out of the repository and give them with --held-out (L4), or ask the product as a \
                    program with an [[oracle]] file and --oracle (L5)";
        all.push((45.0, text.to_owned()));
    }
    let slowest = report.seconds.iter().copied().fold(0.0, f64::max);
    if slowest > SLOW {
        all.push((
            40.0,
            format!(
                "one run of the tests takes {slowest:.0} s, and a verdict several of them: make it shorter"
            ),
        ));
    }
    if !report.disabled.is_empty() {
        let names: Vec<&TestId> = report.disabled.iter().collect();
        let tests = count(names.len(), "disabled test");
        all.push((20.0, format!("enable or delete the {tests}: {}", list(&names, 3))));
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(3).map(|(_, text)| text).collect()
}

/// Suites whose results rest on the word of their own runner.
fn unattested(report: &Report) -> Option<String> {
    let layer = report.layers.iter().find(|layer| layer.name == LayerName::Attested)?;
    (layer.result == LayerResult::NotRun).then(|| {
        format!(
            "{}, so that no verdict is above L1: docs/integrity.md has the runners that can be",
            one_line(&layer.detail)
        )
    })
}

/// The file whose mutants live most often.
fn let_live(strength: &Strength) -> Option<(f64, String)> {
    let mut files: BTreeMap<&str, Vec<&Place>> = BTreeMap::new();
    for survivor in &strength.survivors {
        files.entry(&survivor.at.file).or_default().push(&survivor.at);
    }
    let (file, worst) = files.into_iter().max_by_key(|(_, places)| places.len())?;
    let (rate, _) = wilson(strength.survivors.len(), strength.tried);
    let live = count(worst.len(), "small wrong change");
    let verb = if worst.len() == 1 { "lives" } else { "live" };
    let text = format!("test {file} harder: {live} of its lines {verb}, {}", places(worst));
    Some((40.0 + 40.0 * rate, text))
}

/// The file with most lines that no test runs.
fn not_run(coverage: &Coverage) -> Option<(f64, String)> {
    let (file, worst) = coverage.uncovered.iter().max_by_key(|(_, lines)| lines.len())?;
    let left = share(coverage.lines - coverage.covered, coverage.lines);
    let all: Vec<Place> = worst.iter().map(|line| Place { file: file.clone(), line: *line }).collect();
    let text =
        format!("test what no test runs, {} of the code; most of it in {}", percent(left), places(&all));
    Some((30.0 + 50.0 * left, text))
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 lines")]
fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

impl Report {
    /// The report for people. It is plain; whoever prints it makes it safe for a terminal.
    pub fn told(&self) -> String {
        let mut text = String::new();
        for (what, said) in [
            ("tests", self.tests()),
            ("steady", self.steady()),
            ("coverage", self.covered()),
            ("mutation", self.mutation()),
            ("level", self.reached()),
        ] {
            let _ = writeln!(text, "{what:<10} {}", said.replace('\n', "\n           "));
        }
        for layer in &self.layers {
            let (mark, name) = (layer.result.mark(), layer.name.to_string());
            let _ = writeln!(text, "           {mark} {name:<26} {}", one_line(&layer.detail));
        }
        if !self.advice.is_empty() {
            text.push_str("\nWhat would raise the worth of a verdict here, most first:\n");
        }
        for (number, advice) in self.advice.iter().enumerate() {
            let _ = writeln!(text, "  {}. {advice}", number + 1);
        }
        text
    }

    fn tests(&self) -> String {
        let suites: Vec<String> =
            self.suites.iter().map(|one| format!("{} in {}", count(one.tests, "test"), one.suites)).collect();
        let mut text = format!("{}: {} pass", list(&suites, 5), self.passing);
        for (tests, what) in [(&self.failing, "fail"), (&self.flaky, "flaky"), (&self.disabled, "disabled")] {
            if !tests.is_empty() {
                let _ = write!(text, ", {} {what}", tests.len());
            }
        }
        if !self.failing.is_empty() {
            let names: Vec<&TestId> = self.failing.iter().collect();
            let _ = write!(text, "\nit is red already: {}", list(&names, 3));
        }
        text
    }

    fn steady(&self) -> String {
        let (fastest, slowest) = self
            .seconds
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(*one), high.max(*one)));
        let names: Vec<&TestId> = self.flaky.iter().collect();
        let flaky = if names.is_empty() {
            "the same each time".to_owned()
        } else {
            format!("flaky: {}", list(&names, 5))
        };
        format!("{}, {fastest:.1} to {slowest:.1} s, {flaky}", count(self.seconds.len(), "run"))
    }

    fn covered(&self) -> String {
        match &self.coverage {
            Some(coverage) => format!(
                "tests run {} of {} lines with code, {}",
                coverage.covered,
                coverage.lines,
                percent(share(coverage.covered, coverage.lines))
            ),
            None => "which lines the tests run cannot be told for these suites".to_owned(),
        }
    }

    fn mutation(&self) -> String {
        let strength = &self.strength;
        let mut text = String::new();
        if strength.tried > 0 {
            let (low, high) = wilson(strength.killed, strength.tried);
            let score = share(strength.killed, strength.tried);
            let interval = format!("95 %: {} to {}", percent(low), percent(high));
            let _ = write!(
                text,
                "tests notice {} of {} small wrong changes, {} ({interval})",
                strength.killed,
                strength.tried,
                percent(score)
            );
        }
        if strength.tried > 0 && strength.unbuilt > 0 {
            let _ = write!(text, "; {} more do not build", strength.unbuilt);
        }
        if let Some(leak) = strength.leak.filter(|_| strength.tried > 0) {
            let _ =
                write!(text, "\nan honest mistake passes with a chance of about {}", percent(leak.mistake));
        }
        for survivor in strength.survivors.iter().take(5) {
            let _ = write!(text, "\nnone notices {}", survivor.told());
        }
        if !strength.note.is_empty() {
            let _ = write!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, strength.note);
        }
        text
    }

    fn reached(&self) -> String {
        match self.level {
            Some(level) => format!("{level}: a verdict on a patch can be {}", self.word),
            None => format!("none: the untouched base itself is {}", self.word),
        }
    }
}
