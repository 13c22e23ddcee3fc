//! What a process does to a folder, call by call, as strace sees it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Number of a file, whatever it is called now.
pub(crate) type File = usize;

/// One thing done to the folder, in the order it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Bytes written at a place.
    Write { file: File, at: usize, bytes: Vec<u8> },
    /// Cut or extended.
    Resize { file: File, bytes: usize },
    /// Its content was made to last.
    Sync(File),
    /// A name was given to a new file.
    Name { path: PathBuf, file: File },
    /// A folder was made.
    Folder(PathBuf),
    /// A name was taken away.
    Unname(PathBuf),
    /// A name was moved, over another one if there is one.
    Rename { from: PathBuf, to: PathBuf },
    /// The names in a folder were made to last.
    SyncFolder(PathBuf),
    /// A line the process wrote on its standard output.
    Said(String),
}

const CALLS: &str = "trace=open,openat,creat,close,dup,dup2,dup3,fcntl,lseek,write,writev,pwrite64,\
    pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,\
    renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,copy_file_range,sendfile,mmap";

/// Whether strace is installed and may trace here.
pub(crate) fn has_strace() -> bool {
    let mut traced = Command::new("strace");
    traced.args(["-o", "/dev/null", "true"]).stderr(Stdio::null());
    traced.status().is_ok_and(|status| status.success())
}

/// Runs one test of this binary as a child under strace, with `dir` in the environment as `key`;
/// what it did to `dir`, or `None` if there is no strace or it may not trace here.
pub(crate) fn record(test: &str, key: &str, dir: &Path) -> Option<Vec<Op>> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let done = Command::new("strace")
        .args(["-f", "-qq", "-xx", "-s", "1000000", "-e", "signal=none", "-e", CALLS, "-o"])
        .arg(log.path())
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(key, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !done.is_ok_and(|status| status.success()) {
        println!("skipped: strace is not installed or may not trace here");
        return None;
    }
    let text = fs::read_to_string(log.path()).unwrap();
    let mut reader = Reader { dir, ops: Vec::new(), names: BTreeMap::new(), open: BTreeMap::new() };
    text.lines().for_each(|line| reader.line(line));
    Some(reader.ops)
}

/// What a descriptor stands for.
#[derive(Clone, Debug)]
enum Open {
    File { file: File, at: usize, appends: bool },
    Folder(PathBuf),
}

struct Reader<'a> {
    dir: &'a Path,
    ops: Vec<Op>,
    names: BTreeMap<PathBuf, File>,
    open: BTreeMap<u64, Open>,
}

impl Reader<'_> {
    /// `pid call(arguments) = result`; a call that failed did nothing.
    fn line(&mut self, line: &str) {
        let (_, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        assert!(!line.contains("<unfinished"), "two threads at once: {line}");
        let Some((call, rest)) = line.split_once('(') else { return };
        let Some((args, result)) = rest.rsplit_once(" = ") else { return };
        let Some(result) = result.split(' ').next().and_then(|it| it.parse::<u64>().ok()) else {
            return;
        };
        let args = arguments(args.trim_end().trim_end_matches(')'));
        self.call(call, &args, result);
    }

    fn call(&mut self, call: &str, args: &[String], result: u64) {
        match call {
            "open" => self.opened(&args[0], &args[1], result),
            "openat" => self.opened(&args[1], &args[2], result),
            "close" => drop(self.open.remove(&number(&args[0]))),
            "lseek" => {
                if let Some(Open::File { at, .. }) = self.open.get_mut(&number(&args[0])) {
                    *at = result as usize;
                }
            }
            "write" if args[0] == "1" => {
                let text = String::from_utf8_lossy(&text(&args[1])).into_owned();
                self.ops.extend(text.lines().map(|line| Op::Said(line.to_owned())));
            }
            "write" => self.written(&args[0], &args[1], None, result as usize),
            "pwrite64" => {
                let at = number(&args[3]) as usize;
                self.written(&args[0], &args[1], Some(at), result as usize);
            }
            "ftruncate" => {
                if let Some(Open::File { file, .. }) = self.open.get(&number(&args[0])) {
                    let bytes = number(&args[1]) as usize;
                    self.ops.push(Op::Resize { file: *file, bytes });
                }
            }
            "fsync" | "fdatasync" => match self.open.get(&number(&args[0])) {
                Some(Open::File { file, .. }) => self.ops.push(Op::Sync(*file)),
                Some(Open::Folder(path)) => self.ops.push(Op::SyncFolder(path.clone())),
                None => {}
            },
            "rename" => self.renamed(&args[0], &args[1]),
            "renameat" | "renameat2" => self.renamed(&args[1], &args[3]),
            "unlink" => self.unnamed(&args[0]),
            "unlinkat" => self.unnamed(&args[1]),
            "mkdir" => {
                if let Some(path) = self.within(&args[0]) {
                    self.ops.push(Op::Folder(path));
                }
            }
            "fcntl" if !args[1].starts_with("F_DUPFD") => {}
            "mmap" if !args[3].contains("MAP_SHARED") || !args[2].contains("PROT_WRITE") => {}
            _ => self.assert_not_ours(call, args),
        }
    }

    /// A call this reader does not know must not touch the folder, or the log would be a lie.
    fn assert_not_ours(&self, call: &str, args: &[String]) {
        for arg in args {
            let is_ours = arg.parse().is_ok_and(|fd: u64| self.open.contains_key(&fd))
                || self.within(arg).is_some();
            assert!(!is_ours, "{call} is not modelled: {args:?}");
        }
    }

    /// Path in the folder, if it is in there.
    fn within(&self, arg: &str) -> Option<PathBuf> {
        if !arg.starts_with('"') {
            return None;
        }
        let path = PathBuf::from(String::from_utf8(text(arg)).ok()?);
        path.strip_prefix(self.dir).ok().map(Path::to_path_buf)
    }

    fn opened(&mut self, path: &str, flags: &str, fd: u64) {
        let Some(path) = self.within(path) else { return };
        let real = self.dir.join(&path);
        if flags.contains("O_DIRECTORY") || real.is_dir() {
            self.open.insert(fd, Open::Folder(path));
            return;
        }
        let file = if let Some(&file) = self.names.get(&path) {
            file
        } else {
            assert!(flags.contains("O_CREAT"), "{} was there before", path.display());
            let file = self.ops.len();
            self.names.insert(path.clone(), file);
            self.ops.push(Op::Name { path, file });
            file
        };
        if flags.contains("O_TRUNC") {
            self.ops.push(Op::Resize { file, bytes: 0 });
        }
        self.open.insert(fd, Open::File { file, at: 0, appends: flags.contains("O_APPEND") });
    }

    fn written(&mut self, fd: &str, data: &str, place: Option<usize>, n: usize) {
        let Some(Open::File { file, at, appends }) = self.open.get_mut(&number(fd)) else { return };
        assert!(!*appends, "appending is not modelled");
        let mut bytes = text(data);
        bytes.truncate(n);
        assert_eq!(bytes.len(), n, "strace cut it short");
        let op = Op::Write { file: *file, at: place.unwrap_or(*at), bytes };
        if place.is_none() {
            *at += n;
        }
        self.ops.push(op);
    }

    fn renamed(&mut self, from: &str, to: &str) {
        let (Some(from), Some(to)) = (self.within(from), self.within(to)) else { return };
        if let Some(file) = self.names.remove(&from) {
            self.names.insert(to.clone(), file);
        }
        self.ops.push(Op::Rename { from, to });
    }

    fn unnamed(&mut self, path: &str) {
        let Some(path) = self.within(path) else { return };
        self.names.remove(&path);
        self.ops.push(Op::Unname(path));
    }
}

/// Arguments of a call; with `-xx` no text holds a comma.
fn arguments(args: &str) -> Vec<String> {
    args.split(", ").map(str::to_owned).collect()
}

fn number(arg: &str) -> u64 {
    arg.parse().unwrap_or(u64::MAX)
}

/// `"\x61\x62"` -> `ab`.
fn text(arg: &str) -> Vec<u8> {
    assert!(!arg.ends_with("..."), "strace cut it short");
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    let hex = arg.trim_matches('"').as_bytes();
    hex.chunks_exact(4).map(|it| digit(it[2]) << 4 | digit(it[3])).collect()
}
