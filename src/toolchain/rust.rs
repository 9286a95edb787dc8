//! What Rust needs besides its profiles: cargo announces the test binaries it built, and each is run by
//! itself, in its package and with the environment that cargo would give it. Binaries are named as nextest
//! names them: `package`, `package::test`, `package::bin/name`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use cargo_metadata::{Artifact, Message, TargetKind};

use super::formats::LINE;
use super::place::Place;
use super::suite::{Fill, Invocation, Reads, Selection, Suite};
use super::{Format, formats};
use crate::process::Finished;
use crate::workspace::{Tree, read_beneath};

/// Of a manifest at most this many bytes are read.
const MANIFEST: u64 = 1 << 20;

/// Whether the manifest in `folder` is a workspace's root.
pub fn is_workspace(folder: &Path) -> bool {
    manifest(folder).is_some_and(|manifest| manifest.contains_key("workspace"))
}

/// One command for each test binary that cargo announced, and one for the doctests of each package.
pub fn binaries(
    suite: &Suite,
    fill: &Fill,
    built: &[Finished],
    only: Option<&Selection>,
) -> Result<Vec<Invocation>> {
    let announced = Announced::read(built, &Place::new(&fill.tree, &suite.dir))?;
    let mut commands = Vec::new();
    for binary in &announced.binaries {
        let id = binary.id();
        let names = only.map(|only| only.of(&id));
        if names.as_ref().is_some_and(|names| names.ids.is_empty()) {
            continue;
        }
        let mut command = if binary.has_harness(&fill.tree.here) {
            let mut argv = vec![binary.executable.clone()];
            argv.extend(fill.all(&suite.profile.test.argv));
            argv.extend(names.map(|names| names.fill(&suite.profile.test.select)).unwrap_or_default());
            let reads = Reads::Tests(Format::Libtest, format!("{id} "));
            suite.invocation(argv, binary.dir.clone(), reads)
        } else {
            let reads = Reads::Tests(Format::ExitCode, format!("{id} "));
            suite.invocation(vec![binary.executable.clone()], binary.dir.clone(), reads)
        };
        command.env.extend(announced.environment(binary, &fill.tree.seen));
        commands.push(command);
    }
    commands.extend(announced.doctests(suite, fill, only));
    Ok(commands)
}

/// The file that each test binary's crate begins with, relative to the repository, by the binary's path.
pub fn roots(built: &[Finished], tree: &Tree, dir: &str) -> Result<BTreeMap<String, String>> {
    let announced = Announced::read(built, &Place::new(tree, dir))?;
    let root = |binary: Binary| Some((binary.executable, binary.root?));
    Ok(announced.binaries.into_iter().filter_map(root).collect())
}

/// One command for everything, or several where nextest's report could not tell the binaries apart.
pub fn nextest(
    suite: &Suite,
    fill: &Fill,
    built: &[Finished],
    only: Option<&Selection>,
) -> Result<Vec<Invocation>> {
    let announced = Announced::read(built, &Place::new(&fill.tree, &suite.dir))?;
    let test = &suite.profile.test;
    let kinds: &[Kind] = if announced.has_clash() { &Kind::APART } else { &[Kind::Any] };
    let mut commands = Vec::new();
    for kind in kinds {
        let Some(filterset) = kind.filterset(only) else {
            continue;
        };
        let mut argv = fill.all(&test.argv);
        if !filterset.is_empty() {
            let select = fill.all(&test.select);
            argv.extend(select.iter().map(|word| word.replace("{filterset}", &filterset)));
        }
        let reads = Reads::Tests(Format::Nextest, String::new());
        commands.push(suite.invocation(argv, suite.dir.clone(), reads));
    }
    commands.extend(announced.doctests(suite, fill, only));
    Ok(commands)
}

/// Binaries that share a package and a name (a library and a program) look the same in nextest's report;
/// where that happens, each kind is run by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Any,
    Program,
    Integration,
    Other,
}

impl Kind {
    const APART: [Kind; 3] = [Kind::Other, Kind::Program, Kind::Integration];

    /// The expression that chooses this kind of binary, and of its tests those of `only`. Empty: everything.
    /// `None`: nothing.
    fn filterset(self, only: Option<&Selection>) -> Option<String> {
        let kind = match self {
            Kind::Any => "",
            Kind::Program => "kind(bin)",
            Kind::Integration => "kind(test)",
            Kind::Other => "not (kind(bin) | kind(test))",
        };
        let Some(only) = only else {
            return Some(kind.to_owned());
        };
        let mut tests = Vec::new();
        for (binary, name) in only.files.iter().zip(&only.names) {
            if doctest_package(binary).is_none() && (self == Kind::Any || self == Kind::of(binary)) {
                tests.push(format!("(binary_id(={}) & test(={}))", escaped(binary), escaped(name)));
            }
        }
        (!tests.is_empty()).then(|| tests.join(" | "))
    }

    fn of(binary: &str) -> Kind {
        match binary.split_once("::") {
            Some((_, target)) if target.starts_with("bin/") => Kind::Program,
            Some((_, target)) if !target.contains('/') => Kind::Integration,
            Some(_) | None => Kind::Other,
        }
    }
}

/// A word for an exact matcher of nextest's filtersets.
fn escaped(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for c in word.chars() {
        if matches!(c, '\\' | '(' | ')' | ',') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The package whose doctests an id's first word names.
fn doctest_package(binary: &str) -> Option<&str> {
    binary.strip_suffix("::doc")
}

impl Selection {
    /// Those of one binary.
    fn of(&self, binary: &str) -> Selection {
        let mut own = Selection::default();
        for ((id, file), name) in self.ids.iter().zip(&self.files).zip(&self.names) {
            if file == binary {
                own.ids.push(id.clone());
                own.files.push(file.clone());
                own.names.push(name.clone());
            }
        }
        own
    }
}

/// What cargo said of its products.
#[derive(Debug, Default)]
struct Announced {
    binaries: Vec<Binary>,
    /// Packages whose library has doctests, and their folders.
    documented: BTreeMap<String, String>,
    /// Executables by package and name, for integration tests that run them.
    programs: Vec<(String, String, String)>,
    /// What build scripts set: environment by package, and library folders of all.
    scripts: BTreeMap<String, BTreeMap<String, String>>,
    libraries: BTreeSet<String>,
}

/// A test binary.
#[derive(Debug)]
struct Binary {
    package_id: String,
    package: String,
    version: String,
    target: String,
    kind: Kind,
    executable: String,
    /// The package's folder, relative to the repository.
    dir: String,
    /// The file that its crate begins with, relative to the repository.
    root: Option<String>,
}

impl Announced {
    fn read(built: &[Finished], place: &Place) -> Result<Announced> {
        let mut announced = Announced::default();
        for finished in built {
            finished.stdout.lines(LINE, |line| {
                if let Ok(message) = serde_json::from_slice::<Message>(line) {
                    announced.take(message, place);
                } else if line.starts_with(b"/") {
                    // `rustc --print target-libdir`
                    announced.libraries.insert(formats::line_text(line).into_owned());
                }
            })?;
        }
        announced.binaries.sort_by_key(Binary::id);
        announced.binaries.dedup_by_key(|binary| binary.id());
        Ok(announced)
    }

    fn take(&mut self, message: Message, place: &Place) {
        match message {
            Message::CompilerArtifact(artifact) => self.take_artifact(&artifact, place),
            Message::BuildScriptExecuted(script) => {
                let env = script.env.into_iter().chain([("OUT_DIR".to_owned(), script.out_dir.to_string())]);
                self.scripts.insert(script.package_id.repr, env.collect());
                let folders = script.linked_paths.iter().map(|path| path.as_str());
                // `native=/folder` and the like; cargo gives tests only those below its own target folder.
                let folders = folders.map(|path| path.split_once('=').map_or(path, |(_, folder)| folder));
                self.libraries.extend(folders.map(str::to_owned));
            }
            _ => {}
        }
    }

    fn take_artifact(&mut self, artifact: &Artifact, place: &Place) {
        let manifest = place.locate(artifact.manifest_path.as_str());
        let Some(dir) = manifest.as_deref().and_then(|path| path.strip_suffix("Cargo.toml")) else {
            return;
        };
        let dir = dir.trim_end_matches('/').to_owned();
        let (package, version) = package(&artifact.package_id.repr);
        let executable = artifact.executable.as_ref().map(ToString::to_string);
        let Some(kind) = kind(&artifact.target.kind) else {
            return;
        };
        if artifact.profile.test {
            if kind == Kind::Other && artifact.target.doctest {
                self.documented.insert(package.clone(), dir.clone());
            }
            self.binaries.extend(executable.map(|executable| Binary {
                package_id: artifact.package_id.repr.clone(),
                package,
                version,
                target: artifact.target.name.clone(),
                kind,
                executable,
                dir,
                root: place.locate(artifact.target.src_path.as_str()),
            }));
        } else if let (Kind::Program, Some(executable)) = (kind, executable) {
            self.programs.push((artifact.package_id.repr.clone(), artifact.target.name.clone(), executable));
        }
    }

    /// Whether two binaries look the same in nextest's report.
    fn has_clash(&self) -> bool {
        let mut seen = BTreeSet::new();
        self.binaries.iter().any(|binary| !seen.insert((&binary.package, &binary.target)))
    }

    /// What cargo sets for a test binary at run time.
    fn environment(&self, binary: &Binary, tree: &Path) -> BTreeMap<String, String> {
        let folder = tree.join(&binary.dir);
        let version: Vec<&str> = binary.version.splitn(3, '.').collect();
        let part = |index: usize| version.get(index).copied().unwrap_or_default();
        let patch = part(2).split(['-', '+']).next().unwrap_or_default();
        let pre = binary.version.split_once('-').map_or("", |(_, pre)| pre.split('+').next().unwrap_or(pre));
        let mut env: BTreeMap<String, String> = [
            ("CARGO_MANIFEST_DIR", folder.display().to_string()),
            ("CARGO_MANIFEST_PATH", folder.join("Cargo.toml").display().to_string()),
            ("CARGO_PKG_NAME", binary.package.clone()),
            ("CARGO_PKG_VERSION", binary.version.clone()),
            ("CARGO_PKG_VERSION_MAJOR", part(0).to_owned()),
            ("CARGO_PKG_VERSION_MINOR", part(1).to_owned()),
            ("CARGO_PKG_VERSION_PATCH", patch.to_owned()),
            ("CARGO_PKG_VERSION_PRE", pre.to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let own = self.programs.iter().filter(|program| program.0 == binary.package_id);
        env.extend(own.map(|(_, name, path)| (format!("CARGO_BIN_EXE_{name}"), path.clone())));
        env.extend(self.scripts.get(&binary.package_id).cloned().unwrap_or_default());
        env.insert("LD_LIBRARY_PATH".to_owned(), self.library_path(binary));
        env
    }

    /// Where shared libraries are found: beside the binary, one folder up, with the compiler, and where build
    /// scripts say.
    fn library_path(&self, binary: &Binary) -> String {
        let beside = Path::new(&binary.executable).parent();
        let own = [beside, beside.and_then(Path::parent)];
        let own = own.into_iter().flatten().map(|folder| folder.display().to_string());
        own.chain(self.libraries.iter().cloned()).collect::<Vec<_>>().join(":")
    }

    /// The commands for doctests: whole packages, or those whose items are named.
    fn doctests(&self, suite: &Suite, fill: &Fill, only: Option<&Selection>) -> Vec<Invocation> {
        let argv = &suite.profile.test.doctests;
        let mut commands = Vec::new();
        for package in self.documented.keys().filter(|_| !argv.is_empty()) {
            let names = only.map(|only| only.of(&format!("{package}::doc")).names);
            if names.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let mut argv: Vec<String> =
                fill.all(argv).iter().map(|word| word.replace("{package}", package)).collect();
            if let Some(names) = names {
                argv.push("--".to_owned());
                argv.extend(names.iter().map(|name| formats::doctest::filter(name)).collect::<BTreeSet<_>>());
            }
            let reads = Reads::Tests(Format::Doctest, format!("{package}::doc "));
            let mut command = suite.invocation(argv, suite.dir.clone(), reads);
            // What is for test binaries must not reach cargo and the compiler.
            command.env.clone_from(&suite.profile.environment);
            commands.push(command);
        }
        commands
    }
}

impl Binary {
    fn id(&self) -> String {
        match self.kind {
            Kind::Program => format!("{}::bin/{}", self.package, self.target),
            Kind::Integration => format!("{}::{}", self.package, self.target),
            Kind::Other | Kind::Any => self.package.clone(),
        }
    }

    /// Whether libtest drives it; cargo's messages do not say, so the manifest does.
    fn has_harness(&self, tree: &Path) -> bool {
        let Some(manifest) = manifest(&tree.join(&self.dir)) else {
            return true;
        };
        let targets: Vec<&toml::Value> = match self.kind {
            Kind::Program => {
                manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten().collect()
            }
            Kind::Integration => {
                manifest.get("test").and_then(toml::Value::as_array).into_iter().flatten().collect()
            }
            Kind::Other | Kind::Any => manifest.get("lib").into_iter().collect(),
        };
        let named = |target: &&&toml::Value| {
            let name = target.get("name").and_then(toml::Value::as_str);
            self.kind == Kind::Other || name == Some(self.target.as_str())
        };
        let harness = targets.iter().find(named).and_then(|target| target.get("harness"));
        harness.and_then(toml::Value::as_bool).unwrap_or(true)
    }
}

/// The kind of a target whose tests count; examples and benchmarks do not.
fn kind(kinds: &[TargetKind]) -> Option<Kind> {
    kinds.iter().find_map(|kind| match kind {
        TargetKind::Bin => Some(Kind::Program),
        TargetKind::Test => Some(Kind::Integration),
        TargetKind::Lib
        | TargetKind::RLib
        | TargetKind::DyLib
        | TargetKind::CDyLib
        | TargetKind::StaticLib
        | TargetKind::ProcMacro => Some(Kind::Other),
        _ => None,
    })
}

/// Name and version out of a package id: `path+file:///folder#name@1.2.3`, or `…/name#1.2.3` where the folder
/// has the package's name.
fn package(id: &str) -> (String, String) {
    let (url, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    let folder = url.rsplit('/').next().unwrap_or(url);
    let (name, version) = fragment.split_once('@').unwrap_or((folder, fragment));
    (name.to_owned(), version.to_owned())
}

/// The manifest in a folder.
fn manifest(folder: &Path) -> Option<toml::Table> {
    let bytes = read_beneath(folder, "Cargo.toml", MANIFEST).ok()?;
    toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
}
