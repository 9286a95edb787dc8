//! A replay repeats what was answered before, exactly and for free: the replies in the ledger of an earlier run, or
//! scripted ones (`1.md`, `2.md`, …). It is how a run is shown again, and how the loop is tested without a model.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::budget::Spent;
use crate::ledger::{self, Ledger};
use crate::record::Event;

use super::{Answer, Ask, Prompt, Proposal, Proposer};

/// Bytes read of one scripted reply.
const LONGEST_REPLY: u64 = 16 << 20;

/// Recorded answers, in order.
pub struct Replay {
    name: String,
    answers: VecDeque<Proposal>,
}

impl Replay {
    /// Opens a run's folder, or a folder of replies.
    pub fn open(path: &Path) -> Result<Replay> {
        let answers = if path.join(ledger::FILE).exists() { recorded(path)? } else { scripted(path)? };
        ensure!(
            !answers.is_empty(),
            "{} holds nothing to replay: neither a {} with replies nor files 1.md, 2.md, …",
            path.display(),
            ledger::FILE
        );
        Ok(Replay { name: format!("replay:{}", path.display()), answers })
    }

    /// The answers in a run's ledger, which may be none, under the name of who gave them.
    pub fn named(name: &str, folder: &Path) -> Result<Replay> {
        Ok(Replay { name: name.to_owned(), answers: recorded(folder)? })
    }

    /// Leaves out the first `answers`, which a resumed run has had already.
    pub fn skip(&mut self, answers: usize) {
        self.answers.drain(..answers.min(self.answers.len()));
    }
}

/// The answers in a run's ledger.
fn recorded(folder: &Path) -> Result<VecDeque<Proposal>> {
    let answer = |event| match event {
        Event::Replied { text, edits: Some(patch), .. } => {
            Some(Proposal::Edits { patch, transcript: text, spent: Spent::default() })
        }
        Event::Replied { text, edits: None, .. } => Some(reply(text)),
        _ => None,
    };
    let records = Ledger::read(folder)?;
    Ok(records.into_iter().filter_map(|record| answer(record.event)).collect())
}

/// The replies in files named by number.
fn scripted(folder: &Path) -> Result<VecDeque<Proposal>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u32>().ok());
        if let (Some(number), Some("md")) = (number, path.extension().and_then(|end| end.to_str())) {
            files.insert(number, path);
        }
    }
    files.values().map(|path| Ok(reply(read(path)?))).collect()
}

fn read(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
    file.take(LONGEST_REPLY).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn reply(text: String) -> Proposal {
    Proposal::Reply { text, spent: Spent::default() }
}

impl Proposer for Replay {
    fn name(&self) -> &str {
        &self.name
    }

    fn most(&self, _: &Prompt) -> Result<Spent> {
        Ok(Spent::default())
    }

    fn propose<'a>(&'a mut self, _: &'a Ask<'a>) -> Answer<'a> {
        let answer = self.answers.pop_front().unwrap_or_else(|| Proposal::Nothing {
            reason: format!("{} has no further reply", self.name),
            spent: Spent::default(),
            permanent: true,
        });
        Box::pin(std::future::ready(Ok(answer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::Patch;

    fn texts(replay: Replay) -> Vec<String> {
        replay
            .answers
            .into_iter()
            .map(|answer| match answer {
                Proposal::Reply { text, .. } => text,
                Proposal::Edits { transcript, .. } => format!("edits: {transcript}"),
                Proposal::Nothing { reason, .. } => panic!("{reason}"),
            })
            .collect()
    }

    #[test]
    fn scripted_replies_come_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("10.md", "ten"), ("2.md", "two"), ("1.md", "one"), ("notes.md", "no"), ("3.txt", "no")]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut replay = Replay::open(folder.path()).unwrap();
        replay.skip(1);
        assert_eq!(texts(replay), ["two", "ten"]);
    }

    #[test]
    fn a_run_is_repeated_for_free() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(folder.path()).unwrap();
        let replied = |text: &str, edits| Event::Replied {
            attempt: 1,
            text: text.to_owned(),
            edits,
            spent: Spent { usd: 1.0, ..Spent::default() },
            seconds: 1.0,
        };
        ledger.write(replied("first", None)).unwrap();
        ledger.write(Event::SetUp { seconds: 1.0 }).unwrap();
        ledger.write(replied("second", Some(Patch::default()))).unwrap();
        let replay = Replay::open(folder.path()).unwrap();
        let free = |answer: &Proposal| match answer {
            Proposal::Reply { spent, .. }
            | Proposal::Edits { spent, .. }
            | Proposal::Nothing { spent, .. } => *spent == Spent::default(),
        };
        assert!(replay.answers.iter().all(free));
        assert_eq!(texts(replay), ["first", "edits: second"]);
    }

    #[test]
    fn an_empty_folder_is_no_replay() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Replay::open(folder.path()).is_err());
        assert!(Replay::open(&folder.path().join("absent")).is_err());
    }
}
