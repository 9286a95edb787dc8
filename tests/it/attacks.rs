//! Attacks on the sandbox, each run by a real command in a real box. A test fails when the attack works.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use regreen::process::{self, Command, Finished, Limits};
use regreen::sandbox::{self, Container, Host, Level, Policy, Sandbox};
use regreen::verdict::Exit;
use regreen::workspace::Workspace;

use crate::binary;

/// The levels that claim to keep files apart.
const FENCED: [Level; 2] = [Level::Namespaces, Level::Landlock];

/// A box with a workspace, and outside of it a secret.
struct Trial {
    folder: tempfile::TempDir,
    workspace: Workspace,
    sandbox: Sandbox,
    caches: Vec<String>,
    network: bool,
    limits: Limits,
    input: Vec<u8>,
}

impl Trial {
    fn new(level: Level) -> Trial {
        // Not `/tmp`, of which every box has its own.
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let workspace = Workspace::empty(folder.path().join("work")).unwrap();
        fs::write(folder.path().join("secret"), "hidden").unwrap();
        fs::create_dir_all(folder.path().join("other/tree")).unwrap();
        for file in ["ledger.jsonl", "profile.toml", "other/tree/candidate"] {
            fs::write(folder.path().join(file), "hidden").unwrap();
        }
        let host = Host {
            home: folder.path().join("user"),
            path: vec!["/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()],
            ..Host::default()
        };
        let sandbox = Sandbox { launcher: binary(), ..Sandbox::new(level, host) };
        Trial {
            folder,
            workspace,
            sandbox,
            caches: Vec::new(),
            network: false,
            limits: Limits { wall: Duration::from_secs(30), ..Limits::default() },
            input: Vec::new(),
        }
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    async fn run(&self, argv: &[&str]) -> Finished {
        process::run(&self.wrapped(argv)).await.unwrap()
    }

    async fn sh(&self, script: &str) -> Finished {
        self.run(&["sh", "-c", script]).await
    }

    fn wrapped(&self, argv: &[&str]) -> Command {
        let command = Command {
            argv: argv.iter().map(OsString::from).collect(),
            dir: self.workspace.tree(),
            env: vec![
                ("SECRET_FOLDER".into(), self.folder.path().into()),
                ("LAUNCHER".into(), binary().into()),
            ],
            input: self.input.clone(),
            limits: self.limits.clone(),
            logs: self.folder.path().to_owned(),
        };
        let policy = Policy {
            workspace: &self.workspace,
            readable: Vec::new(),
            writable: Vec::new(),
            caches: self.caches.clone(),
            network: self.network,
            served: false,
        };
        self.sandbox.wrap(command, &policy).unwrap()
    }
}

fn said(finished: &Finished) -> String {
    finished.log(4000).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what they may skip")]
fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Whether this machine can do the level; says so when it cannot, and fails when `CI` is set.
fn can(level: Level) -> bool {
    let host = Trial::new(level).sandbox.host;
    let probes = sandbox::probe_with(&host, &binary());
    let probe = probes.iter().find(|probe| probe.level == level).unwrap();
    if !probe.works {
        eprintln!("SKIPPED: {level} does not work here: {}", probe.why);
        assert!(!in_ci(), "{}", probe.why);
    }
    probe.works
}

#[tokio::test]
async fn what_is_given_on_stdin_reaches_the_command_in_the_box_and_ends() {
    for level in [Level::Namespaces, Level::Landlock, Level::None] {
        let given = Trial { input: b"key\nrest".to_vec(), ..Trial::new(level) };
        let finished = given.sh("read key; echo got $key; cat").await;
        assert_eq!(finished.stdout.excerpt(100).unwrap(), "got key\nrest", "{level}");
        let silent = Trial::new(level);
        let finished = silent.sh("cat; echo end").await;
        assert_eq!(finished.stdout.excerpt(100).unwrap(), "end\n", "{level}");
    }
}

#[tokio::test]
async fn a_command_works_in_its_workspace_at_every_level() {
    for level in [Level::Namespaces, Level::Landlock, Level::None] {
        if !can(level) {
            continue;
        }
        let trial = Trial::new(level);
        let script = "set -e; pwd; echo text > new; mv new moved; mkdir -p a/b; ln -s moved link; \
                      echo x > $HOME/x; echo x > $TMPDIR/x; cat link; test -c /dev/null; echo gone > /dev/null; exit 7";
        let finished = trial.sh(script).await;
        assert_eq!(finished.exit, Exit::Code(7), "{level:?}: {}", said(&finished));
        let tree = trial.workspace.tree();
        assert!(said(&finished).ends_with("text"), "{}", said(&finished));
        assert!(said(&finished).contains(tree.to_str().unwrap()), "{}", said(&finished));
        assert_eq!(fs::read_to_string(tree.join("moved")).unwrap(), "text\n");
        let finished = trial.sh("kill -ABRT $$").await;
        assert_eq!(finished.exit, Exit::Signal(6), "{level:?}");
        assert_eq!(trial.run(&["no-such-program"]).await.exit, Exit::Code(127), "{level:?}");
    }
}

#[tokio::test]
async fn nothing_outside_is_read_or_written() {
    for level in FENCED {
        if !can(level) {
            continue;
        }
        let trial = Trial::new(level);
        for attack in [
            "cat $SECRET_FOLDER/secret",
            "echo x > $SECRET_FOLDER/secret",
            "echo x > $SECRET_FOLDER/new",
            "ln $SECRET_FOLDER/secret hard && cat hard",
            "ln -s $SECRET_FOLDER/secret soft && cat soft",
            "cat ../../secret",
            "echo x >> $SECRET_FOLDER/ledger.jsonl",
            "echo x > $SECRET_FOLDER/profile.toml",
            "cat $SECRET_FOLDER/other/tree/candidate",
            "ls ../../other/tree | grep .",
            "echo x >> $SECRET_FOLDER/other/tree/candidate",
            "echo x >> $LAUNCHER",
            "rm -f $LAUNCHER && test ! -e $LAUNCHER && exit 1",
            "rm -rf $SECRET_FOLDER/secret; test ! -e $SECRET_FOLDER/secret && exit 1",
            "mv ../tree ../elsewhere",
            "echo x > /etc/passwd",
            "cat /etc/shadow",
            "echo x > /usr/bin/planted",
            "cd /root && ls .ssh .bashrc",
            "echo x > /proc/sys/kernel/core_pattern",
            "cat /proc/1/environ | grep .",
            "mount -t tmpfs none .",
            "unshare -Ur true",
            "unshare -m true",
        ] {
            let finished = trial.sh(attack).await;
            assert_ne!(finished.exit, Exit::Code(0), "{level:?}: {attack}: {}", said(&finished));
        }
        assert_eq!(fs::read_to_string(trial.secret()).unwrap(), "hidden");
        assert!(!trial.folder.path().join("new").exists());
    }
}

#[tokio::test]
async fn a_secret_in_the_environment_is_not_seen() {
    for level in FENCED.into_iter().filter(|level| can(*level)) {
        let trial = Trial::new(level);
        let finished = trial.sh("env; cat /proc/*/environ | tr '\\0' '\\n'").await;
        // Cargo sets it for the test, so that it stands for whatever regreen's own environment holds.
        let text = said(&finished);
        assert!(text.contains("SECRET_FOLDER=") && !text.contains("CARGO_MANIFEST_DIR"), "{level}: {text}");
    }
}

#[tokio::test]
async fn the_network_and_the_sockets_of_the_host_are_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let name = format!("regreen-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    for level in FENCED.into_iter().filter(|level| can(*level)) {
        let trial = Trial::new(level);
        let path = trial.folder.path().join("socket");
        let _path = UnixListener::bind(&path).unwrap();
        let script = format!(
            "import socket as s\n\
             def attack(name, f):\n\
             \x20try: f(); print('WORKED', name)\n\
             \x20except OSError as e: print('held', name, e)\n\
             attack('tcp', lambda: s.create_connection(('127.0.0.1', {tcp}), 2))\n\
             attack('udp', lambda: s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp})))\n\
             attack('outside', lambda: s.create_connection(('1.1.1.1', 53), 2))\n\
             attack('abstract', lambda: s.socket(s.AF_UNIX).connect('\\0{name}'))\n\
             attack('path', lambda: s.socket(s.AF_UNIX).connect('{path}'))\n\
             attack('vsock', lambda: s.socket(40, s.SOCK_STREAM))\n\
             attack('packet', lambda: s.socket(s.AF_PACKET, s.SOCK_RAW))\n\
             attack('alg', lambda: s.socket(38, s.SOCK_SEQPACKET))\n\
             attack('audit', lambda: s.socket(16, s.SOCK_RAW, 9))\n",
            tcp = tcp.local_addr().unwrap().port(),
            udp = udp.local_addr().unwrap().port(),
            path = path.display(),
        );
        let finished = trial.run(&["/usr/bin/python3", "-c", &script]).await;
        // A datagram can be sent into the box's own loopback; what counts is whether it is heard outside.
        let text = said(&finished).replace("WORKED udp", "sent udp");
        assert!(text.contains("held audit") && !text.contains("WORKED"), "{level}: {text}");
        let heard = udp.recv(&mut [0; 8]);
        assert!(heard.is_err(), "{level}: a datagram came out");
    }
}

#[tokio::test]
async fn the_loopback_of_the_box_works() {
    if can(Level::Namespaces) {
        let script = "import socket as s; l = s.create_server(('127.0.0.1', 0)); \
                      s.create_connection(l.getsockname(), 5); s.create_server(('::1', 0), family=s.AF_INET6)";
        let trial = Trial::new(Level::Namespaces);
        let finished = trial.run(&["/usr/bin/python3", "-c", script]).await;
        assert_eq!(finished.exit, Exit::Code(0), "{}", said(&finished));
    }
}

#[tokio::test]
async fn odd_doors_of_the_kernel_are_shut() {
    let calls = [
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("setns", libc::SYS_setns),
        ("open_tree", libc::SYS_open_tree),
        ("fsopen", libc::SYS_fsopen),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("bpf", libc::SYS_bpf),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("clone3", libc::SYS_clone3),
        ("unshare", libc::SYS_unshare),
    ];
    for level in FENCED.into_iter().filter(|level| can(*level)) {
        let trial = Trial::new(level);
        let list = calls.map(|(name, number)| format!("('{name}', {number})")).join(",");
        // The first argument is CLONE_NEWUSER for unshare, and nonsense that fails otherwise for the others.
        let script = format!(
            "import ctypes\n\
             l = ctypes.CDLL(None, use_errno=True)\n\
             for name, number in [{list}]:\n\
             \x20r = l.syscall(number, 0x10000000, 0, 0, 0, 0, 0)\n\
             \x20print(name, r, ctypes.get_errno())\n\
             import fcntl\n\
             for request in (0x5412, 0x541C):\n\
             \x20try: fcntl.ioctl(1, request, b'x')\n\
             \x20except OSError as e: print('ioctl', -1, e.errno)\n\
             r = l.syscall({clone}, 0x10000000 | 17, 0, 0, 0, 0)\n\
             print('clone', r, ctypes.get_errno())\n",
            clone = libc::SYS_clone,
        );
        let finished = trial.run(&["/usr/bin/python3", "-c", &script]).await;
        let text = said(&finished);
        assert_eq!(text.lines().count(), calls.len() + 3, "{level}: {text}");
        for line in text.lines() {
            let refused = line.ends_with(&format!(" -1 {}", libc::EPERM))
                || line.ends_with(&format!(" -1 {}", libc::ENOSYS));
            assert!(refused, "{level}: {line}");
        }
    }
}

#[tokio::test]
async fn root_is_never_in_the_box_and_nobody_has_capabilities() {
    if can(Level::Namespaces) {
        let script = "grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp:)' /proc/self/status";
        let trial = Trial::new(Level::Namespaces);
        let finished = trial.sh(script).await;
        let text = said(&finished);
        assert!(!text.contains("Uid:\t0") && !text.contains("Gid:\t0"), "{text}");
        assert_eq!(text.matches("0000000000000000").count(), 5, "{text}");
        assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    }
}

#[tokio::test]
async fn processes_outside_cannot_be_seen_signalled_or_traced() {
    for level in FENCED.into_iter().filter(|level| can(*level)) {
        let trial = Trial::new(level);
        let mut decoy = sleeper();
        let script = format!(
            "kill -0 {id} && echo WORKED signal; kill -9 {id} && echo WORKED kill; \
             cat /proc/{id}/environ && echo WORKED environ; ls /proc/{id}/root/ && echo WORKED root; \
             head -c1 /proc/{id}/mem && echo WORKED mem; kill -9 $PPID && echo WORKED parent; \
             ls -l /proc/1/exe /proc/1/fd && echo WORKED keeper; \
             /usr/bin/python3 -c 'import ctypes; l = ctypes.CDLL(None); b = ctypes.create_string_buffer(8); \
             v = (ctypes.c_size_t * 2)(ctypes.addressof(b), 8); \
             print(\"WORKED\" if l.ptrace(16, {id}, 0, 0) == 0 else \"held\", \"ptrace\"); \
             print(\"WORKED\" if l.process_vm_readv({id}, v, 1, v, 1, 0) > 0 else \"held\", \"vm\")'; \
             kill -9 -1; true",
            id = decoy.id()
        );
        let finished = trial.sh(&script).await;
        assert!(!said(&finished).contains("WORKED"), "{level}: {}", said(&finished));
        assert!(decoy.try_wait().unwrap().is_none(), "{level}: the decoy is gone");
        decoy.kill().unwrap();
        decoy.wait().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the decoy is not regreen's child")]
fn sleeper() -> std::process::Child {
    std::process::Command::new("/bin/sleep").arg("600").spawn().unwrap()
}

#[tokio::test]
async fn planted_links_lead_the_launcher_nowhere() {
    for level in FENCED.into_iter().filter(|level| can(*level)) {
        let mut trial = Trial::new(level);
        let cache = trial.folder.path().join("user/.cache/tool");
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join("known"), "cached").unwrap();
        trial.sandbox.host.home = trial.folder.path().join("user");
        // The next command's home has a link where a cache is to be shown, and the workspace's folders cannot be
        // replaced at all.
        let plant = "rm -rf $HOME/.cache; ln -s $SECRET_FOLDER $HOME/.cache; \
                     rmdir $TMPDIR; ln -s $SECRET_FOLDER $TMPDIR; mv $HOME $HOME-2; true";
        trial.sh(plant).await;
        trial.caches = vec![".cache/tool".to_owned()];
        let finished = trial.sh("cat $HOME/.cache/tool/known; echo x > $HOME/.cache/tool/poison").await;
        assert!(said(&finished).contains("cached"), "{level}: {}", said(&finished));
        assert!(!cache.join("poison").exists(), "{level}: the user's cache was written");
        assert!(!trial.folder.path().join("tool").exists(), "{level}: the link was followed");
        assert_eq!(fs::read_to_string(trial.secret()).unwrap(), "hidden");
    }
}

#[tokio::test]
async fn caches_are_shared_and_what_is_added_stays_in_the_workspace() {
    for level in [Level::Namespaces, Level::Landlock, Level::None].into_iter().filter(|level| can(*level)) {
        let mut trial = Trial::new(level);
        let cache = trial.folder.path().join("user/.cache/tool");
        fs::create_dir_all(cache.join("deep")).unwrap();
        fs::write(cache.join("deep/known"), "cached").unwrap();
        trial.sandbox.host.home = trial.folder.path().join("user");
        trial.caches = vec![".cache/tool".to_owned()];
        let finished = trial.sh("cd ~/.cache/tool && cat deep/known && touch ~/.cache/other").await;
        assert_eq!(finished.exit, Exit::Code(0), "{level}: {}", said(&finished));
        if level == Level::Namespaces {
            let change = "cd ~/.cache/tool && echo new > deep/new && echo worse > deep/known && rm -r deep/../deep/new \
                          && echo more > more";
            let finished = trial.sh(change).await;
            assert_eq!(finished.exit, Exit::Code(0), "{}", said(&finished));
            let finished = trial.sh("cat ~/.cache/tool/more ~/.cache/tool/deep/known").await;
            assert_eq!(said(&finished), "more\nworse");
        }
        assert_eq!(fs::read_to_string(cache.join("deep/known")).unwrap(), "cached");
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn bombs_break_a_limit_and_not_the_machine() {
    for level in [Level::Namespaces, Level::Landlock, Level::None].into_iter().filter(|level| can(*level)) {
        let mut trial = Trial::new(level);
        trial.limits.processes = Some(200);
        trial.limits.memory = Some(256 << 20);
        trial.limits.file_size = Some(1 << 20);
        // Not a real bomb: if the limit fails, so should the test, and not the machine.
        let many = "i=0; while [ $i -lt 600 ]; do sleep 9803 & i=$((i + 1)); done; wait";
        let finished = trial.sh(many).await;
        let most = Exit::LimitBroken("processes".to_owned());
        assert!([most, Exit::Code(2)].contains(&finished.exit), "{level}: {}", finished.exit);
        assert!(!running("9803"), "{level}: what was too much survived");
        let hog = "b = []\nwhile True: b.append(bytearray(1 << 20))";
        let finished = trial.run(&["/usr/bin/python3", "-c", hog]).await;
        assert_eq!(finished.exit, Exit::LimitBroken("memory".to_owned()), "{level}");
        let finished = trial.sh("head -c 2000000 /dev/zero > big; truncate -s 1T sparse; ls -s big").await;
        let size = fs::metadata(trial.workspace.tree().join("big")).unwrap().len();
        assert!(size <= 1 << 20, "{level}: {}", said(&finished));
    }
}

#[tokio::test]
async fn memory_files_count_as_memory() {
    for level in [Level::Namespaces, Level::Landlock, Level::None].into_iter().filter(|level| can(*level)) {
        let mut trial = Trial::new(level);
        trial.limits.memory = Some(200 << 20);
        let hog = "import os, time\nf = os.memfd_create('x')\nfor i in range(320):\n    os.write(f, bytes(1 << 20))\ntime.sleep(5)";
        let finished = trial.run(&["/usr/bin/python3", "-c", hog]).await;
        assert_eq!(finished.exit, Exit::LimitBroken("memory".to_owned()), "{level}: {}", said(&finished));
        // Eight processes that share their memory do not use it eight times.
        let fair = "import mmap, os, time\nm = mmap.mmap(-1, 40 << 20)\nfor i in range(40): m.write(bytes(1 << 20))\n\
                    for i in range(7): os.fork() or (m[::4096], time.sleep(1), os._exit(0))\ntime.sleep(1)";
        let finished = trial.run(&["/usr/bin/python3", "-c", fair]).await;
        assert_eq!(finished.exit, Exit::Code(0), "{level}: {}", said(&finished));
    }
}

#[tokio::test]
async fn a_disk_that_fills_breaks_a_limit_wherever_it_is_filled() {
    for level in [Level::Namespaces, Level::Landlock, Level::None].into_iter().filter(|level| can(*level)) {
        let deep = "$(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do mkdir -p \
                    aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa; \
                    cd -P aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa/aaaaaaaaaa; done; pwd)";
        for place in [".", "$HOME", "$TMPDIR", deep] {
            let mut trial = Trial::new(level);
            trial.limits.disk = Some(64 << 20);
            // Many files, so that no limit on one file helps; and not without end, if this fails.
            let fill = "i=0; while [ $i -lt 200 ]; do head -c 8000000 /dev/zero > fill$i || exit 3; i=$((i + 1)); sleep 0.01; done";
            let finished = trial.sh(&format!("cd {place}; {fill}")).await;
            assert_eq!(
                finished.exit,
                Exit::LimitBroken("disk".to_owned()),
                "{level} {place}: {}",
                said(&finished)
            );
            trial.limits.disk = Some(4 << 30);
            let little = trial.sh("rm -f fill*; head -c 8000000 /dev/zero > little").await;
            assert_eq!(little.exit, Exit::Code(0), "{level}: {}", said(&little));
        }
    }
}

#[tokio::test]
async fn a_script_may_open_its_own_output() {
    for level in [Level::Namespaces, Level::Landlock, Level::None].into_iter().filter(|level| can(*level)) {
        let trial = Trial::new(level);
        let finished = trial.sh("echo first; echo second > /dev/stdout; echo third > /dev/stderr").await;
        let text = said(&finished);
        assert!(["first", "second", "third"].iter().all(|word| text.contains(word)), "{level}: {text}");
    }
}

#[tokio::test]
async fn much_output_comes_whole() {
    for level in [Level::Namespaces, Level::Landlock, Level::None].into_iter().filter(|level| can(*level)) {
        let finished = Trial::new(level).sh("seq 1 200000; seq 1 1000 >&2").await;
        assert_eq!(finished.stdout.bytes, 1_288_895, "{level}");
        assert_eq!(finished.stderr.bytes, 3893, "{level}");
    }
}

#[tokio::test]
async fn nothing_survives_the_command() {
    for level in [Level::Namespaces, Level::Landlock, Level::None] {
        if !can(level) {
            continue;
        }
        let mut trial = Trial::new(level);
        // A marker in the arguments finds the daemon in the host's process list.
        let daemon = |mark: &str| {
            format!("(setsid sh -c 'trap \"\" TERM HUP; sleep 98{mark}' >/dev/null 2>&1 &) ; sleep 0.2")
        };
        trial.sh(&daemon("01")).await;
        assert!(!running("98\u{30}1"), "{level:?}: a daemon survived the end");
        trial.limits.wall = Duration::from_secs(1);
        let finished = trial.sh(&format!("{}; sleep 60", daemon("02"))).await;
        assert_eq!(finished.exit, Exit::TimedOut(1));
        assert!(!running("9802"), "{level:?}: a daemon survived the deadline");
    }
}

#[tokio::test]
async fn nothing_survives_when_regreen_is_killed() {
    for level in [Level::Namespaces, Level::Landlock, Level::None].into_iter().filter(|level| can(*level)) {
        let trial = Trial::new(level);
        let daemon = "(setsid sh -c 'trap \"\" TERM HUP; sleep 9804' >/dev/null 2>&1 &); sleep 9804";
        let mut regreen = stand_in(&trial.wrapped(&["sh", "-c", daemon]));
        let soon = |wanted: bool| {
            (0..500).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                running("9804") == wanted
            })
        };
        assert!(soon(true), "{level}: the command did not start");
        regreen.kill().unwrap();
        regreen.wait().unwrap();
        assert!(soon(false), "{level}: the command survived");
    }
}

/// Starts a process that stands in for regreen, as the parent of the launcher.
#[expect(clippy::disallowed_methods, reason = "it will be killed in regreen's place")]
fn stand_in(command: &Command) -> std::process::Child {
    let script = r#"spec=$(printf %s "$2" | sed "s/\"parent\":[0-9]*/\"parent\":$$/"); launcher=$0; shift 2
                    "$launcher" __box "$spec" "$@" & wait"#;
    std::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .args(&command.argv)
        .envs(command.env.iter().cloned())
        .current_dir("/")
        .spawn()
        .unwrap()
}

/// Whether a process `sleep {mark}` runs on this machine.
fn running(mark: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        line.split(|byte| *byte == 0).any(|word| word == mark.as_bytes()) && line.starts_with(b"sleep\0")
    })
}

/// A container of an image that holds busybox and nothing else, where an engine works.
#[expect(clippy::disallowed_methods, reason = "the engine keeps its images in the home")]
fn contained() -> Option<Trial> {
    let mut trial = Trial::new(Level::Container);
    let image = "regreen-test-busybox";
    let words = import(image, trial.folder.path(), &[])?;
    let host = &mut trial.sandbox.host;
    host.home = std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from);
    trial.sandbox.container = Some(Container::new(image, Some(words), &trial.sandbox.host.path).unwrap());
    Some(trial)
}

/// Makes an image that holds busybox and these files, in `folder`; the engine's words, if there is one.
#[expect(clippy::disallowed_methods, reason = "the image is made by hand")]
pub fn import(image: &str, folder: &std::path::Path, files: &[(&str, &str)]) -> Option<&'static str> {
    let program = |name: &str| process::find(name, &["/usr/bin".into(), "/bin".into()]);
    let words = if program("runc").is_some() { "podman --runtime runc" } else { "podman" };
    let (Some(podman), Some(busybox)) = (program("podman"), program("busybox")) else {
        eprintln!("SKIPPED: podman and busybox are needed for containers");
        assert!(!in_ci(), "podman and busybox are needed for containers");
        return None;
    };
    let root = folder.join("image");
    for folder in ["bin", "tmp", "proc", "dev", "etc"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "echo", "sleep", "id", "env", "setsid", "dd", "head", "wget", "ls", "touch", "kill",
        "rm",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    for (path, text) in files {
        let place = root.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }
    let tar = folder.join("image.tar");
    let made =
        std::process::Command::new("tar").arg("-C").arg(&root).arg("-cf").args([&tar]).arg(".").status();
    assert!(made.unwrap().success());
    let made =
        std::process::Command::new(podman).args(["import", "-q"]).arg(&tar).arg(image).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(words)
}

/// Containers of this process that the engine knows.
#[expect(clippy::disallowed_methods, reason = "the engine is asked by hand")]
fn containers() -> String {
    let name = format!("name=regreen-{}-", std::process::id());
    let listed =
        std::process::Command::new("podman").args(["ps", "-aq", "--filter", &name]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

#[tokio::test]
async fn a_container_works_holds_and_is_gone_afterwards() {
    let Some(mut trial) = contained() else { return };
    let finished =
        trial.sh("set -e; id; cat; echo text > new; echo x > $HOME/x; echo x > /tmp/x; exit 7").await;
    assert_eq!(finished.exit, Exit::Code(7), "{}", said(&finished));
    assert!(!said(&finished).contains("uid=0"), "{}", said(&finished));
    assert_eq!(fs::read_to_string(trial.workspace.tree().join("new")).unwrap(), "text\n");
    for attack in [
        "cat $SECRET_FOLDER/secret",
        "echo x > $SECRET_FOLDER/secret",
        "echo x > /bin/planted",
        "env | busybox grep CARGO_MANIFEST_DIR",
        "cat /proc/1/environ | busybox tr '\\0' '\\n' | busybox grep CARGO_MANIFEST_DIR",
        "busybox mount -t tmpfs none /tmp",
        "busybox nc -w 2 1.1.1.1 53 < /dev/null",
        "ls /sys/class/net | busybox grep -v -x lo",
    ] {
        let finished = trial.sh(attack).await;
        assert_ne!(finished.exit, Exit::Code(0), "{attack}: {}", said(&finished));
    }
    trial.limits.memory = Some(64 << 20);
    let hog = trial.sh("dd if=/dev/zero of=/dev/null bs=200M count=1").await;
    assert_ne!(hog.exit, Exit::Code(0), "{}", said(&hog));
    trial.limits.memory = None;
    trial.limits.wall = Duration::from_secs(2);
    let finished = trial.sh("(setsid sleep 9805 &); sleep 9805").await;
    assert_eq!(finished.exit, Exit::TimedOut(2), "{}", said(&finished));
    assert!(!running("9805") && containers().is_empty(), "something survived: {}", containers());
}

#[tokio::test]
async fn a_container_is_removed_when_regreen_is_killed() {
    let Some(trial) = contained() else { return };
    let mut regreen = stand_in(&trial.wrapped(&["sh", "-c", "sleep 9806"]));
    let soon = |wanted: bool| {
        (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            running("9806") == wanted
        })
    };
    assert!(soon(true), "the command did not start");
    regreen.kill().unwrap();
    regreen.wait().unwrap();
    assert!(soon(false), "the command survived");
}
