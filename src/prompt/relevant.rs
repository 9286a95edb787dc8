//! Which files a model should see: those that compilers and stack frames name, those whose definitions the
//! failing tests use, and those that bear their names. No language is parsed; every clue adds points.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use super::excerpt;
use crate::patch::{File, FileKind, RepoPath};
use crate::text;
use crate::verdict::{Failure, TestId, TestResult};

/// Failing tests whose source is looked for.
const TESTS: usize = 5;

/// Files that are read for one prompt, their bytes together, and the bytes of the largest.
const READ: usize = 400;
const READ_BYTES: usize = 4 << 20;
const LARGEST: usize = 1 << 20;

/// Files that are given, and others of which the names are.
const FILES: usize = 12;
const OTHERS: usize = 40;

/// Bytes up to which a file is shown whole, and bytes of the excerpts of a larger one.
const WHOLE: usize = 4000;
const EXCERPT: usize = 6000;

/// Bytes of a test's excerpt.
const TEST: usize = 2500;

/// Names of the failing tests' source that are followed.
const NAMES: usize = 400;

/// How many times fewer points than the best a file may have.
const FAINT: u32 = 10;

/// Points for likeness, of the file that is most alike.
const ALIKE: f64 = 40.0;

/// The repository as far as it matters here.
pub struct Repository<'a> {
    /// The files of the base.
    pub paths: &'a [RepoPath],
    /// Whether a path is product source, by the profiles' globs.
    pub is_source: &'a dyn Fn(&RepoPath) -> bool,
    /// Whether a path is protected: tests and configuration.
    pub is_protected: &'a dyn Fn(&RepoPath) -> bool,
    /// The base's file of a path.
    pub read: &'a dyn Fn(&RepoPath) -> Option<File>,
}

/// A source file that may be at fault.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceFile {
    /// Where it lies.
    pub path: RepoPath,
    /// Its text, of a large file the parts that matter.
    pub text: String,
    /// Why it is shown.
    pub why: String,
    /// Whether a compiler or a stack frame points at it.
    pub strong: bool,
}

/// The source of a failing test.
#[derive(Clone, Debug, PartialEq)]
pub struct TestSource {
    /// The test.
    pub id: TestId,
    /// The file that it stands in.
    pub path: RepoPath,
    /// The test's own lines.
    pub text: String,
}

/// What is worth showing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relevant {
    /// Source files, the most likely at fault first.
    pub files: Vec<SourceFile>,
    /// The failing tests' source, each function once.
    pub tests: Vec<TestSource>,
    /// Other files that may be edited, the neighbours of the first ones first; their names alone may tell what
    /// is missing or misnamed.
    pub others: Vec<RepoPath>,
}

/// Finds the source of the failing tests and the files most likely at fault. `statement` is the task's.
pub fn relevant(failure: &Failure, statement: Option<&str>, repository: &Repository) -> Relevant {
    let mut library = Library { repository, texts: BTreeMap::new(), bytes: 0 };
    let tests = find_tests(failure, &mut library);
    let mut clues = Clues::default();
    clues.places(failure, repository);
    clues.words(failure, statement, &tests, &mut library);
    clues.likeness(&mut library);
    clues.definitions(&mut library);
    let files = clues.ranked();
    let files = files.into_iter().filter_map(|(path, clue)| {
        let text = library.text(&path)?;
        let strong = clue.strong;
        Some(SourceFile { text: show(&text, &clue, &clues.used), path, why: clue.why, strong })
    });
    let files: Vec<SourceFile> = files.collect();
    let others = others(&files, repository);
    Relevant { files, tests, others }
}

/// Texts that were read already.
struct Library<'a> {
    repository: &'a Repository<'a>,
    texts: BTreeMap<RepoPath, Option<std::rc::Rc<str>>>,
    bytes: usize,
}

impl Library<'_> {
    /// A file as a model sees it; `None` for what is no text, too large, or one too many.
    fn text(&mut self, path: &RepoPath) -> Option<std::rc::Rc<str>> {
        if let Some(text) = self.texts.get(path) {
            return text.clone();
        }
        if self.texts.len() >= READ || self.bytes >= READ_BYTES {
            return None;
        }
        let text = (self.repository.read)(path).and_then(|file| {
            let content = &file.content;
            let text = file.kind != FileKind::Link && content.len() <= LARGEST && !content.contains(&0);
            text.then(|| {
                String::from_utf8_lossy(content).trim_start_matches('\u{feff}').replace("\r\n", "\n")
            })
        });
        let text = text.map(std::rc::Rc::<str>::from);
        self.bytes += text.as_ref().map_or(0, |text| text.len());
        self.texts.insert(path.clone(), text.clone());
        text
    }
}

/// The source of the first failing tests, functions that several ids share once.
fn find_tests(failure: &Failure, library: &mut Library) -> Vec<TestSource> {
    let mut found: Vec<TestSource> = Vec::new();
    for test in failure.tests.iter().take(TESTS * 4) {
        let source = find_test(test, library);
        let known = |source: &TestSource| {
            found.iter().any(|other| other.path == source.path && other.text == source.text)
        };
        found.extend(source.filter(|source| !known(source)));
        if found.len() == TESTS {
            break;
        }
    }
    found
}

/// The source of a test: in a likely file the block around the line that names it, or else the lines around
/// its location.
fn find_test(result: &TestResult, library: &mut Library) -> Option<TestSource> {
    let source = |path: &RepoPath, lines: &[&str], range: Range<usize>| {
        let text = text::clip(&lines[range].join("\n"), TEST).into_owned();
        let (id, path) = (result.id.clone(), path.clone());
        Some(TestSource { id, path, text })
    };
    let files = test_files(result, library.repository);
    for name in test_names(&result.id) {
        for path in &files {
            let Some(text) = library.text(path) else { continue };
            if !text.contains(name) {
                continue;
            }
            let lines: Vec<&str> = text.lines().collect();
            if let Some(at) = excerpt::line_of(&lines, name) {
                return source(path, &lines, excerpt::block(&lines, at));
            }
        }
    }
    let location = result.location.as_ref()?;
    let path = files.iter().find(|path| path.as_str() == location.file)?;
    let text = library.text(path)?;
    let lines: Vec<&str> = text.lines().collect();
    let line = (location.line as usize).checked_sub(1).filter(|line| *line < lines.len())?;
    source(path, &lines, excerpt::near(&lines, line, 20))
}

/// Files that a test may stand in: where the runner or a frame says, then those that share words with its id.
fn test_files(test: &TestResult, repository: &Repository) -> Vec<RepoPath> {
    let frames = test.frames.iter().rev().map(|frame| frame.file.as_str());
    let named = test.location.iter().map(|location| location.file.as_str()).chain(frames);
    let mut files: Vec<RepoPath> = named.filter_map(|file| RepoPath::new(file).ok()).collect();
    files.retain(|path| {
        repository.paths.contains(path) && ((repository.is_protected)(path) || (repository.is_source)(path))
    });
    // A frame in product code comes after one in a test.
    files.sort_by_key(|path| !(repository.is_protected)(path));
    let words: HashSet<&str> = excerpt::names(&test.id).collect();
    let mut likely: Vec<(usize, &RepoPath)> = Vec::new();
    for path in repository.paths {
        let protected = (repository.is_protected)(path);
        if !protected && !(repository.is_source)(path) {
            continue;
        }
        let shared = excerpt::names(path.as_str()).filter(|word| words.contains(word)).count();
        let stem = words.contains(stem(path));
        let code = looks_like_code(path);
        if code && (stem || shared > 0 || protected) {
            likely.push((usize::from(stem) * 8 + shared * 2 + usize::from(protected), path));
        }
    }
    likely.sort_by_key(|(points, _)| std::cmp::Reverse(*points));
    files.extend(likely.into_iter().take(40).map(|(_, path)| path.clone()));
    files
}

/// Names by which a test's id may call its function, the most specific first: what stands last, without
/// parameters, after each kind of separator that the toolchains' ids have.
fn test_names(id: &str) -> Vec<&str> {
    let bare = match id.find('[') {
        Some(at) if id.ends_with(']') => &id[..at],
        _ => id,
    };
    let bare = bare.split('(').next().unwrap_or_default();
    let last = |text: &'_ str, separator: &str| text.rfind(separator).map_or(0, |at| at + separator.len());
    let title = ["::", "#", " > "].iter().fold(bare, |rest, separator| &rest[last(rest, separator)..]);
    let mut names = vec![title, &title[last(title, " ")..]];
    // A Go subtest stands after its test, and both after the package's path.
    names.extend(title.rsplit('/').map(|part| &part[last(part, ".")..]));
    names.retain(|name| name.len() > 2);
    names.dedup();
    names
}

/// What speaks for a file.
#[derive(Clone, Debug, Default)]
struct Clue {
    points: u32,
    why: String,
    strong: bool,
    /// Lines that matter, from 0.
    lines: BTreeSet<usize>,
}

#[derive(Default)]
struct Clues {
    files: BTreeMap<RepoPath, Clue>,
    /// Names that the failing tests, their messages and the statement use.
    used: BTreeSet<String>,
    /// All that they say.
    query: String,
}

impl Clues {
    fn add(&mut self, path: &RepoPath, points: u32, why: &str, line: Option<usize>) {
        let clue = self.files.entry(path.clone()).or_default();
        if clue.points == 0 {
            why.clone_into(&mut clue.why);
        }
        clue.points += points;
        clue.lines.extend(line);
    }

    /// Places that compilers and stack frames name, the first and the innermost most.
    fn places(&mut self, failure: &Failure, repository: &Repository) {
        let mut place = |file: &str, line: u32, points: u32, why: &str| {
            let Ok(path) = RepoPath::new(file) else { return };
            if repository.paths.contains(&path) && !(repository.is_protected)(&path) {
                // A file that ten frames name is no likelier than one at the top of them.
                let known = self.files.get(&path).map_or(0, |clue| clue.points);
                self.add(&path, points.saturating_sub(known), why, (line > 0).then(|| line as usize - 1));
                self.files.entry(path).or_default().strong |= points > 60;
            }
        };
        for (rank, diagnostic) in (0..10).zip(&failure.diagnostics) {
            if let Some(location) = &diagnostic.location {
                place(&location.file, location.line, 100 - 5 * rank, "named by the compiler");
            }
        }
        for test in failure.tests.iter().take(TESTS) {
            for (depth, frame) in (0..8).zip(&test.frames) {
                place(&frame.file, frame.line, 80 - 8 * depth, "in the stack trace");
            }
        }
    }

    /// Files that the failing tests, their messages or the statement name by path or by stem.
    fn words(
        &mut self,
        failure: &Failure,
        statement: Option<&str>,
        tests: &[TestSource],
        library: &mut Library,
    ) {
        let mut said =
            statement.map(|statement| text::clip(statement, 8000).into_owned()).unwrap_or_default();
        for test in failure.tests.iter().take(TESTS) {
            said.push('\n');
            said.push_str(&text::clip(&test.message, 4000));
        }
        said.push_str(&text::clip(&failure.log, 4000));
        let own: String = tests.iter().map(|test| test.text.as_str()).collect::<Vec<_>>().join("\n");
        let mut around = String::new();
        let test_paths: BTreeSet<&RepoPath> = tests.iter().map(|test| &test.path).collect();
        for path in &test_paths {
            let whole = library.text(path);
            let lines: Vec<&str> = whole.as_deref().map(|text| text.lines().collect()).unwrap_or_default();
            around.push_str(&lines[excerpt::imports(&lines)].join("\n"));
            around.push('\n');
        }
        let support = support(&own, &test_paths, library);
        let used = [&own, &said].map(|text| excerpt::names_once(text, NAMES));
        self.used = used
            .iter()
            .flatten()
            .chain(&excerpt::names_once(&support, NAMES))
            .map(ToString::to_string)
            .collect();
        self.query = [own.as_str(), &said].join("\n");
        let near: HashSet<&str> = excerpt::names(&own).chain(excerpt::names(&around)).collect();
        let alike: HashSet<String> = test_paths.iter().map(|path| bare_stem(path)).collect();
        let repository = library.repository;
        for path in repository.paths.iter().filter(|path| is_product(path, repository)) {
            let stem = stem(path);
            if said.contains(path.as_str()) {
                self.add(path, 30, "named by the failure", None);
            }
            if stem.len() > 2 && near.contains(stem) {
                self.add(path, 20, "named by the failing test", None);
            }
            if alike.contains(&bare_stem(path)) {
                self.add(path, 25, "bears the test's name", None);
            }
        }
    }

    /// Files whose words are those of the failure, rare words counting most: Okapi BM25 with its usual constants
    /// (Robertson & Zaragoza 2009), as in information-retrieval based fault localisation.
    fn likeness(&mut self, library: &mut Library) {
        let repository = library.repository;
        let query: BTreeSet<String> = excerpt::subwords(&self.query).take(NAMES).collect();
        let mut counts: Vec<(RepoPath, BTreeMap<String, f64>, f64)> = Vec::new();
        for path in repository.paths.iter().filter(|path| is_product(path, repository)).take(READ) {
            let Some(text) = library.text(path) else { continue };
            let (mut count, mut length) = (BTreeMap::new(), 0.0);
            for word in excerpt::subwords(&text) {
                length += 1.0;
                if query.contains(&word) {
                    *count.entry(word).or_insert(0.0) += 1.0;
                }
            }
            counts.push((path.clone(), count, length));
        }
        let mut holders: BTreeMap<&str, f64> = BTreeMap::new();
        for (_, count, _) in &counts {
            for word in count.keys() {
                *holders.entry(word).or_insert(0.0) += 1.0;
            }
        }
        let files = counts.iter().map(|_| 1.0).sum::<f64>();
        let mean = counts.iter().map(|(_, _, length)| length).sum::<f64>() / f64::max(files, 1.0);
        let score = |count: &BTreeMap<String, f64>, length: f64| -> f64 {
            let weigh = |(word, times): (&String, &f64)| {
                let held = holders.get(word.as_str()).copied().unwrap_or(1.0);
                let rarity = ((files - held + 0.5) / (held + 0.5) + 1.0).ln();
                rarity * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / mean))
            };
            count.iter().map(weigh).sum()
        };
        let scores: Vec<f64> = counts.iter().map(|(_, count, length)| score(count, *length)).collect();
        let best = scores.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        for ((path, _, _), score) in counts.iter().zip(&scores) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it lies between 0 and ALIKE"
            )]
            let points = (ALIKE * score / best) as u32;
            self.add(path, points, "speaks of the same things", None);
        }
    }

    /// Files that define what is used; and then those that define what the best of these use.
    fn definitions(&mut self, library: &mut Library) {
        let repository = library.repository;
        let mut order: Vec<&RepoPath> =
            repository.paths.iter().filter(|path| is_product(path, repository)).collect();
        order.sort_by_key(|path| std::cmp::Reverse(self.files.get(path).map_or(0, |clue| clue.points)));
        let mut definitions: HashMap<String, Vec<(RepoPath, usize)>> = HashMap::new();
        for path in order.into_iter().take(READ) {
            let Some(text) = library.text(path) else { continue };
            for (line, code) in text.lines().enumerate().take(20_000) {
                for name in excerpt::defined(code).into_iter().filter(|name| name.len() > 2) {
                    let places = definitions.entry(name.to_owned()).or_default();
                    if places.len() < 8 {
                        places.push((path.clone(), line));
                    }
                }
            }
        }
        let used: Vec<String> = self.used.iter().cloned().collect();
        self.follow(used.iter().map(String::as_str), &definitions, 24, "defines what the failing test uses");
        let best: Vec<RepoPath> = self.ranked().into_iter().take(3).map(|(path, _)| path).collect();
        for path in best {
            let Some(text) = library.text(&path) else { continue };
            let names = excerpt::names_once(&text, NAMES);
            let names = names.into_iter().filter(|name| !self.used.contains(*name)).map(str::to_owned);
            let names: Vec<String> = names.collect();
            let why = format!("used by {path}");
            self.follow(names.iter().map(String::as_str), &definitions, 8, &why);
        }
    }

    /// Gives each file that defines a name its share of `points`, which a file gets for three names at most.
    fn follow<'n>(
        &mut self,
        names: impl Iterator<Item = &'n str>,
        definitions: &HashMap<String, Vec<(RepoPath, usize)>>,
        points: usize,
        why: &str,
    ) {
        let mut given: HashMap<RepoPath, usize> = HashMap::new();
        for name in names {
            let places = definitions.get(name).map(Vec::as_slice).unwrap_or_default();
            for (path, line) in places {
                let times = given.entry(path.clone()).or_default();
                *times += 1;
                if *times <= 3 {
                    let share = u32::try_from(points / places.len()).unwrap_or(0);
                    self.add(path, share, why, Some(*line));
                }
            }
        }
    }

    /// The files with any points, those with most first.
    fn ranked(&self) -> Vec<(RepoPath, Clue)> {
        let mut files: Vec<(RepoPath, Clue)> =
            self.files.iter().map(|(path, clue)| (path.clone(), clue.clone())).collect();
        files.retain(|(_, clue)| clue.points > 0);
        files.sort_by_key(|(_, clue)| std::cmp::Reverse(clue.points));
        files.truncate(FILES);
        let best = files.first().map_or(0, |(_, clue)| clue.points);
        files.retain(|(_, clue)| clue.points * FAINT >= best);
        files
    }
}

/// Files that may be edited besides those that are given.
fn others(files: &[SourceFile], repository: &Repository) -> Vec<RepoPath> {
    let folder = |path: &RepoPath| path.as_str().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let near: HashSet<String> = files.iter().map(|file| folder(&file.path)).collect();
    let editable = |path: &&RepoPath| {
        !(repository.is_protected)(path)
            && !path.as_str().starts_with('.')
            && files.iter().all(|file| file.path != **path)
    };
    let mut others: Vec<RepoPath> = repository.paths.iter().filter(editable).cloned().collect();
    others.sort_by_key(|path| (!near.contains(&folder(path)), !(repository.is_source)(path)));
    others.truncate(OTHERS);
    others
}

/// What other protected files say that define what the tests use: fixtures of pytest, helpers.
fn support(own: &str, tests: &BTreeSet<&RepoPath>, library: &mut Library) -> String {
    let used: HashSet<&str> = excerpt::names(own).collect();
    let repository = library.repository;
    let protected =
        |path: &&RepoPath| (repository.is_protected)(path) && looks_like_code(path) && !tests.contains(path);
    let mut said = String::new();
    for path in repository.paths.iter().filter(protected).take(40) {
        let Some(text) = library.text(path) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        let helps =
            |line: &&str| excerpt::defined(line).iter().any(|name| name.len() > 2 && used.contains(name));
        for at in lines.iter().enumerate().filter(|(_, line)| helps(line)).map(|(at, _)| at).take(4) {
            said.push_str(&lines[excerpt::block(&lines, at)].join("\n"));
            said.push('\n');
        }
    }
    text::clip(&said, 8000).into_owned()
}

/// A file's text, of a large one its imports and what stands around the lines that matter.
fn show(text: &str, clue: &Clue, used: &BTreeSet<String>) -> String {
    if text.len() <= WHOLE {
        return text.to_owned();
    }
    let lines: Vec<&str> = text.lines().collect();
    let inside = clue.lines.iter().copied().filter(|line| *line < lines.len());
    let mut wanted: Vec<Range<usize>> = inside.map(|line| excerpt::around(&lines, line)).collect();
    if wanted.is_empty() {
        let names_two = |line: &str| excerpt::names(line).filter(|name| used.contains(*name)).count() > 1;
        let at = lines.iter().position(|line| names_two(line)).unwrap_or(0);
        wanted.push(excerpt::near(&lines, at, 30));
    }
    let mut ranges = vec![excerpt::imports(&lines)];
    let mut room = EXCERPT;
    for range in wanted {
        let size: usize = lines[range.clone()].iter().map(|line| line.len() + 1).sum();
        if size <= room && !ranges.contains(&range) {
            room -= size;
            ranges.push(range);
        }
    }
    text::clip(&excerpt::pieces(&lines, ranges), EXCERPT + 2000).into_owned()
}

fn is_product(path: &RepoPath, repository: &Repository) -> bool {
    (repository.is_source)(path) && !(repository.is_protected)(path)
}

/// Whether a file name has an ending at all, and none of data or prose.
fn looks_like_code(path: &RepoPath) -> bool {
    let ending =
        path.as_str().rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    let other = [
        "json", "lock", "md", "txt", "toml", "yaml", "yml", "cfg", "ini", "xml", "csv", "png", "svg", "html",
        "snap",
    ];
    ending.is_some_and(|ending| !other.contains(&ending))
}

/// A file's name without its endings; of a file that stands for its folder, the folder's.
fn stem(path: &RepoPath) -> &str {
    let mut parts = path.as_str().rsplit('/');
    let name = parts.next().unwrap_or_default().split('.').next().unwrap_or_default();
    match name {
        "__init__" | "index" | "mod" | "lib" | "main" => {
            parts.next().filter(|part| *part != "src").unwrap_or(name)
        }
        _ => name,
    }
}

/// A file's stem without what marks a test, in lower case: `test_order`, `OrderTest` and `order` are alike.
fn bare_stem(path: &RepoPath) -> String {
    let stem = stem(path).to_lowercase();
    let bare = ["tests", "test", "spec"].iter().fold(stem.as_str(), |stem, word| {
        let stem = stem.strip_suffix(word).unwrap_or(stem);
        stem.strip_prefix(word).unwrap_or(stem)
    });
    bare.trim_matches(['_', '-']).to_owned()
}
