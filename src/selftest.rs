//! The self-test of the verifier: a corpus of cheats, each of which must live (fool at least one naive grader) and
//! be stopped, and of honest patches, each of which must pass. What each layer adds is told as an ablation table
//! with one-sided 95 % bounds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::text::{clip, one_line};
use crate::verdict::{Baseline, LayerName, LayerResult, Level, Verdict};
use crate::verify::{Fooled, Judgement, NaiveCommand, Say, Verifier, given};

/// What a patch of the corpus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It must live, and must not pass.
    Cheat,
    /// It must pass.
    Honest,
}

/// A patch of the corpus.
#[derive(Clone, Debug)]
pub struct Specimen {
    /// Cheat or honest.
    pub kind: Kind,
    /// `program/slug`.
    pub name: String,
    /// The class of a cheat, its header's word.
    pub class: String,
    /// Whether it was written knowing the verifier.
    pub adaptive: bool,
    file: PathBuf,
}

/// What became of a patch.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Which patch.
    pub specimen: Specimen,
    /// Which naive graders it fooled; honest patches are not shown to them.
    pub fooled: Fooled,
    /// What the verifier said.
    pub judgement: Judgement,
    /// Wall time of the verifier.
    pub seconds: f64,
}

impl Trial {
    /// The layer that stopped it.
    pub fn stopped_by(&self) -> Option<LayerName> {
        let stopped = self.judgement.layers.iter().find(|layer| layer.result == LayerResult::Stopped);
        stopped.map(|layer| layer.name)
    }

    fn passed(&self) -> bool {
        matches!(self.judgement.verdict, Verdict::Green(_))
    }

    /// Whether it passed at a level that is to be believed.
    fn believed(&self) -> bool {
        self.judgement.verdict.level().is_some_and(|level| level >= Level::Controlled)
    }

    /// What is wrong: an escape, a dead cheat, a false alarm.
    pub fn fault(&self) -> Option<&'static str> {
        match self.specimen.kind {
            Kind::Cheat if self.believed() => Some("ESCAPED"),
            Kind::Cheat if !self.fooled.any() => Some("DEAD"),
            Kind::Honest if !self.passed() => Some("FALSE ALARM"),
            Kind::Honest if !self.believed() => Some("TOO LOW"),
            Kind::Cheat | Kind::Honest => None,
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let fault = self.fault().unwrap_or("ok");
        let by = self.stopped_by().map_or(String::new(), |layer| format!(" by {layer}"));
        let why = self.judgement.verdict.reasons().join("; ");
        let word = self.judgement.verdict.word();
        let (name, seconds) = (&self.specimen.name, self.seconds);
        let why = clip(&one_line(&why), 160).into_owned();
        format!(
            "{fault:<11} {seconds:>6.1} s  {name}: {word}{by}{}{why}",
            if why.is_empty() { "" } else { ": " }
        )
    }
}

/// The patches of a program: `cheats/*.patch`, `honest/*.patch` and `gold.patch`.
pub fn specimens(program: &Path) -> Result<Vec<Specimen>> {
    let name = program.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let mut files: Vec<(Kind, PathBuf)> = Vec::new();
    for (kind, folder) in [(Kind::Cheat, "cheats"), (Kind::Honest, "honest")] {
        let entries = std::fs::read_dir(program.join(folder)).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| (kind, entry.path())));
    }
    files.push((Kind::Honest, program.join("gold.patch")));
    let mut found = Vec::new();
    for (kind, file) in files {
        if !file.is_file() || file.extension().is_none_or(|ending| ending != "patch") {
            continue;
        }
        let text = std::fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let header = |key: &str| {
            let head = text.lines().take_while(|line| !line.starts_with("diff --git "));
            head.filter_map(|line| line.strip_prefix(key))
                .map(str::trim)
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let slug = file.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
        found.push(Specimen {
            kind,
            name: format!("{name}/{slug}"),
            class: header("Class:"),
            adaptive: header("Adaptive:") == "yes",
            file,
        });
    }
    found.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    Ok(found)
}

/// Tries one patch on a program that was measured.
pub async fn attempt(
    verifier: &Verifier,
    baseline: &Baseline,
    specimen: &Specimen,
    commands: &BTreeMap<String, NaiveCommand>,
    say: Say<'_>,
) -> Result<Trial> {
    let text = std::fs::read(&specimen.file)?;
    let patch = given::from_diff(&text, &verifier.workshop.snapshot)
        .with_context(|| format!("{} cannot be read", specimen.name))?;
    let fooled = match specimen.kind {
        Kind::Cheat => verifier.naive(baseline, &patch, commands).await?,
        Kind::Honest => Fooled::default(),
    };
    let start = Instant::now();
    let composed = verifier.compose(&patch)?;
    let judgement = verifier.examine_delivered(baseline, &composed, &patch, say).await?;
    Ok(Trial { specimen: specimen.clone(), fooled, judgement, seconds: start.elapsed().as_secs_f64() })
}

/// Upper end of the one-sided 95 % interval for a rate of which `hits` of `n` were seen (Clopper and Pearson,
/// Biometrika 1934).
pub fn upper_bound(hits: usize, n: usize) -> f64 {
    if hits >= n {
        return 1.0;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..60 {
        let rate = f64::midpoint(low, high);
        if at_most(hits, n, rate) > 0.05 { low = rate } else { high = rate }
    }
    high
}

/// The chance of at most `hits` of `n` at a rate.
#[expect(clippy::cast_precision_loss, reason = "a corpus has thousands of patches at most")]
fn at_most(hits: usize, n: usize, rate: f64) -> f64 {
    let mut term = (n as f64 * (1.0 - rate).ln()).exp();
    let mut sum = term;
    for k in 1..=hits {
        term *= (n - k + 1) as f64 / k as f64 * rate / (1.0 - rate);
        sum += term;
    }
    sum
}

/// A line of the ablation table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What stands between the patch and a pass.
    pub label: String,
    /// Cheats that pass all the same.
    pub escapes: usize,
    /// Honest patches that do not; `None` where they were not tried.
    pub alarms: Option<usize>,
}

/// The ablation table: cheats that pass and honest patches that do not, layer by layer.
pub fn table(trials: &[Trial]) -> Vec<Row> {
    let cheats: Vec<&Trial> = trials.iter().filter(|trial| trial.specimen.kind == Kind::Cheat).collect();
    let honest: Vec<&Trial> = trials.iter().filter(|trial| trial.specimen.kind == Kind::Honest).collect();
    let fooled = |which: fn(&Fooled) -> bool| cheats.iter().filter(|trial| which(&trial.fooled)).count();
    let mut rows: Vec<Row> = [
        ("as delivered: exit status", fooled(|fooled| fooled.exit)),
        ("as delivered: words on stdout", fooled(|fooled| fooled.stdout)),
        ("as delivered: the runner's report", fooled(|fooled| fooled.report)),
        ("as delivered: targets and guards by name", fooled(|fooled| fooled.names)),
        ("as delivered: all four at once", fooled(|fooled| fooled.all())),
    ]
    .map(|(label, escapes)| Row { label: label.to_owned(), escapes, alarms: None })
    .to_vec();
    let stands = |trial: &&&Trial, until: LayerName| {
        let early = !trial.passed() && trial.stopped_by().is_none();
        !early && trial.stopped_by().is_none_or(|layer| layer > until)
    };
    for layer in LayerName::ALL {
        if layer == LayerName::Static || layer == LayerName::Delivered {
            continue;
        }
        let escapes = cheats.iter().filter(|trial| stands(trial, layer)).count();
        let alarms = honest.iter().filter(|trial| !stands(trial, layer)).count();
        let label = if layer == LayerName::Visible { layer.to_string() } else { format!("+ {layer}") };
        rows.push(Row { label, escapes, alarms: Some(alarms) });
    }
    let escapes = cheats.iter().filter(|trial| trial.believed()).count();
    let alarms = honest.iter().filter(|trial| !trial.believed()).count();
    rows.push(Row { label: "= a pass at L3 or above".to_owned(), escapes, alarms: Some(alarms) });
    rows
}

/// The table in Markdown.
pub fn markdown(trials: &[Trial]) -> String {
    let (cheats, honest) = sizes(trials);
    let mut text = format!(
        "| what stands between a patch and a pass | of {cheats} cheats pass | 95 % bound | of {honest} honest do not | 95 % bound |\n|---|--:|--:|--:|--:|\n"
    );
    for row in table(trials) {
        let alarms = row.alarms.map_or(String::new(), |alarms| alarms.to_string());
        let bound = row.alarms.map_or(String::new(), |alarms| percent(upper_bound(alarms, honest)));
        let escapes = percent(upper_bound(row.escapes, cheats));
        let _ = writeln!(
            text,
            "| {} | {} | ≤ {escapes} | {alarms} | {}{bound} |",
            row.label,
            row.escapes,
            if bound.is_empty() { "" } else { "≤ " }
        );
    }
    text
}

/// The table for a terminal, and what is wrong.
pub fn story(trials: &[Trial]) -> String {
    let (cheats, honest) = sizes(trials);
    let mut text = format!("{:<44} {:>8} {:>8} {:>8} {:>8}\n", "", "cheats", "bound", "honest", "bound");
    let _ = writeln!(text, "{:<44} {:>8} {:>8} {:>8}", "", "pass", "95 %", "do not");
    for row in table(trials) {
        let alarms = row.alarms.map_or(String::new(), |alarms| alarms.to_string());
        let bound = row.alarms.map_or(String::new(), |alarms| percent(upper_bound(alarms, honest)));
        let escapes = percent(upper_bound(row.escapes, cheats));
        let _ =
            writeln!(text, "{:<44} {:>8} {:>8} {:>8} {:>8}", row.label, row.escapes, escapes, alarms, bound);
    }
    let adaptive = trials.iter().filter(|trial| trial.specimen.adaptive).count();
    let _ = writeln!(text, "\n{cheats} cheats ({adaptive} adaptive), {honest} honest patches");
    let suspect = trials.iter().filter(|trial| {
        trial.specimen.kind == Kind::Honest && matches!(trial.judgement.verdict, Verdict::Rejected { .. })
    });
    let _ = writeln!(text, "honest patches called suspect: {}", suspect.count());
    for trial in trials.iter().filter(|trial| trial.fault().is_some()) {
        let _ = writeln!(text, "{}", trial.line());
    }
    text
}

fn sizes(trials: &[Trial]) -> (usize, usize) {
    let cheats = trials.iter().filter(|trial| trial.specimen.kind == Kind::Cheat).count();
    (cheats, trials.len() - cheats)
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Evidence, Layer};

    #[test]
    fn the_bound_is_that_of_clopper_and_pearson() {
        // The root of P(X <= k) = 0.05 for X binomial, found by bisection over exact sums.
        for (hits, n, expected) in [(0, 50, 0.0582), (0, 100, 0.0295), (1, 50, 0.0914), (5, 24, 0.3891)] {
            let bound = upper_bound(hits, n);
            assert!((bound - expected).abs() < 0.0006, "{hits} of {n}: {bound}");
        }
        assert!(upper_bound(3, 3) > 0.999 && upper_bound(0, 0) > 0.999);
    }

    fn trial(kind: Kind, stopped: Option<LayerName>, level: Level) -> Trial {
        let layer = |name| Layer {
            name,
            result: LayerResult::Stopped,
            detail: String::new(),
            seconds: 0.0,
            seeds: Vec::new(),
        };
        let verdict = match stopped {
            Some(_) => Verdict::Rejected { violations: Vec::new() },
            None => Verdict::Green(Evidence { level, ..Evidence::default() }),
        };
        let specimen = Specimen {
            kind,
            name: String::new(),
            class: String::new(),
            adaptive: false,
            file: PathBuf::new(),
        };
        let fooled = Fooled { exit: true, ..Fooled::default() };
        let judgement = Judgement { verdict, layers: stopped.into_iter().map(layer).collect() };
        Trial { specimen, fooled, judgement, seconds: 0.0 }
    }

    #[test]
    fn the_table_counts_what_each_layer_lets_pass() {
        let trials = [
            trial(Kind::Cheat, Some(LayerName::Visible), Level::Composed),
            trial(Kind::Cheat, Some(LayerName::Perturb), Level::Composed),
            trial(Kind::Cheat, None, Level::Attested),
            trial(Kind::Cheat, None, Level::HeldOut),
            trial(Kind::Honest, None, Level::Controlled),
            trial(Kind::Honest, Some(LayerName::Alias), Level::Composed),
        ];
        let rows = table(&trials);
        let row = |label: &str| {
            let row = rows.iter().find(|row| row.label.contains(label)).unwrap();
            (row.escapes, row.alarms)
        };
        assert_eq!(row("exit status"), (4, None));
        assert_eq!(row("visible tests"), (3, Some(0)));
        assert_eq!(row("poisoned"), (3, Some(0)));
        assert_eq!(row("perturbed"), (2, Some(0)));
        assert_eq!(row("alias"), (2, Some(1)));
        assert_eq!(row("a pass at L3"), (1, Some(1)));
        let faults: Vec<Option<&str>> = trials.iter().map(Trial::fault).collect();
        assert_eq!(faults, [None, None, None, Some("ESCAPED"), None, Some("FALSE ALARM")]);
    }
}
