//! Keeps the house as drawn: floors, doors, purity, sizes, dead files, the map.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FLOORS: &[&[&str]] = &[
    &["types"],
    &["dsp", "nn", "stats", "store"],
    &["acquire", "advise", "assess", "detect", "extract", "forecast"],
    &["fleet", "learn", "pipeline", "publish"],
    &["daemon", "judge", "web"],
    &["cli", "config", "lib", "main"],
];
/// Up to here a room is pure, but for these.
const PURE_TO: usize = 2;
const IMPURE: &[&str] = &["acquire", "store"];
/// Where alone code may be unsafe.
const UNSAFE: &str = "nn/kernel";
const FILE_LINES_MAX: usize = 600;
const VAGUE: &[&str] = &["common", "helpers", "misc", "util", "utils"];

fn floor(room: &str) -> usize {
    FLOORS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("no room {room}"))
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or("")
}

/// The room a source file is in: its first path part under `src`.
fn room(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_string()
}

fn without_comments(text: &str) -> String {
    let code: Vec<&str> = text.lines().map(|it| it.split("//").next().unwrap_or("")).collect();
    code.join(" ")
}

/// Every path in `code` under `root`, with `use root{a::B, c::D};` taken apart.
fn imports(code: &str, root: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for tail in code.split(root).skip(1) {
        match tail.strip_prefix('{') {
            Some(group) => paths.extend(group_members(group)),
            None => drop(paths.insert(leading_path(tail))),
        }
    }
    paths.remove("");
    paths
}

/// `a::B, c::{D, E}};...` -> `a::B`, `c::`.
fn group_members(group: &str) -> Vec<String> {
    let (mut members, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                members.push(leading_path(group[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => (),
        }
    }
    members
}

fn leading_path(text: &str) -> String {
    text.chars().take_while(|it| it.is_alphanumeric() || "_:".contains(*it)).collect()
}

fn faults(path: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (own, top) = (room(path), FLOORS.len() - 1);
    let shown = path.display();
    let code = without_comments(text);
    for import in imports(&code, "crate::") {
        let mut parts = import.split("::");
        let other = parts.next().unwrap_or("");
        if other == own || floor(&own) == top {
            continue;
        }
        if floor(other) >= floor(&own) {
            faults.push(format!("{shown}: {own} may not import {other}: not on a floor below"));
        }
        let (item, deeper) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        if item.starts_with(|c: char| c.is_lowercase()) && !deeper.is_empty() {
            faults.push(format!("{shown}: {import} goes past the door of {other}"));
        }
    }
    let is_test = path.ends_with("tests.rs");
    if floor(&own) <= PURE_TO && !IMPURE.contains(&own.as_str()) && !is_test {
        let mut outside = imports(&code, "std::");
        outside.retain(|it| ["fs", "net", "process", "thread"].contains(&first(it)));
        outside.extend(
            ["tokio", "tracing"]
                .map(String::from)
                .into_iter()
                .filter(|it| code.contains(&format!("{it}::"))),
        );
        faults.extend(outside.iter().map(|it| format!("{shown}: {own} is pure, no {it}")));
    }
    let code_lines = text.split("#[cfg(test)]\nmod").next().unwrap_or("").lines().count();
    if code_lines > FILE_LINES_MAX && !is_test {
        faults.push(format!("{shown}: {code_lines} lines, {FILE_LINES_MAX} at most"));
    }
    if !text.starts_with("//!") && !is_test {
        faults.push(format!("{shown}: does not open with a line of //!"));
    }
    if code.contains("unsafe") && !path.starts_with(UNSAFE) {
        faults.push(format!("{shown}: unsafe outside of {UNSAFE}"));
    }
    if text.contains("super::super::") {
        faults.push(format!("{shown}: climbs out of the window by super::super"));
    }
    if VAGUE.contains(&path.file_stem().unwrap().to_str().unwrap()) {
        faults.push(format!("{shown}: a name that says nothing"));
    }
    faults
}

/// A file no `mod` names is compiled by nobody and read by everybody.
fn dead(path: &Path, src: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    if ["main", "lib"].contains(&stem) && path.components().count() == 1 {
        return false;
    }
    let (name, dir) = if stem == "mod" {
        let dir = path.parent().unwrap();
        (dir.file_name().unwrap().to_str().unwrap(), dir.parent().unwrap())
    } else {
        (stem, path.parent().unwrap())
    };
    let parent = match dir.components().next() {
        None => PathBuf::from("lib.rs"),
        Some(_) if src.join(dir).join("mod.rs").exists() => dir.join("mod.rs"),
        Some(_) => dir.with_extension("rs"),
    };
    let text = fs::read_to_string(src.join(parent)).unwrap_or_default();
    !text.contains(&format!("mod {name};"))
}

#[test]
fn house_is_as_drawn() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&src, &mut found);
    let mut wrong = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&src).unwrap();
        wrong.extend(faults(path, &text));
        if dead(path, &src) {
            wrong.push(format!("{}: no `mod` names it", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn faults_are_found() {
    let check = |path: &str, text: &str| faults(Path::new(path), text).join("\n");
    let good = "//! x\nuse crate::types::{Frame, Score};\nuse crate::dsp::Fft;\n";
    assert_eq!(check("extract/mel.rs", good), "");
    assert!(
        check("extract/mel.rs", "//! x\nuse crate::detect::Detector;").contains("not on a floor")
    );
    let grouped = "//! x\nuse crate::{\n types::Frame,\n web::Page,\n};\n";
    assert!(check("store/mod.rs", grouped).contains("store may not import web"));
    let nested = "//! x\nuse crate::{dsp::{Fft, Window}, extract::Extractor, types::Frame};\n";
    assert!(check("assess/mod.rs", nested).contains("assess may not import extract"));
    assert_eq!(check("assess/mod.rs", "//! x\n// crate::web::Page\n"), "");
    assert!(check("detect/ae.rs", "//! x\nuse crate::nn::kernel::Dot;").contains("past the door"));
    assert!(check("dsp/fft.rs", "//! x\nuse std::{fs::File, fmt};").contains("no fs::File"));
    assert_eq!(check("store/log.rs", "//! x\nuse std::{fs::File, fmt};"), "");
    assert!(check("detect/mod.rs", "//! x\ntracing::info!();").contains("no tracing"));
    assert!(check("dsp/utils.rs", "//! x\n").contains("says nothing"));
    assert!(check("dsp/fft.rs", "//! x\nuse super::super::web::Page;").contains("window"));
    assert!(check("nn/mod.rs", "//! x\nunsafe { f() }").contains("unsafe outside"));
    assert_eq!(check("nn/kernel/neon.rs", "//! x\nunsafe { f() }"), "");
    assert!(check("dsp/fft.rs", "fn f() {}\n").contains("//!"));
    assert!(check("dsp/fft.rs", &format!("//! x\n{}", "//\n".repeat(700))).contains("at most"));
}

#[test]
fn map_names_only_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let named =
        text.split('`').skip(1).step_by(2).filter(|it| it.contains('/') && !it.contains(' '));
    let gone: Vec<&str> = named.filter(|it| !root.join(it).exists()).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:?}");
}

/// Sound cards are found in /proc/asound, and IIO sensors are set up through /sys: a unit that hides them is deaf.
#[test]
fn the_unit_leaves_what_sensors_need() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/auscult.service");
    let text = fs::read_to_string(unit).unwrap();
    let has = |line: &&str| ["ProcSubset=pid", "ProtectKernelTunables=yes"].contains(line);
    assert_eq!(text.lines().find(has), None);
    for needed in
        ["DeviceAllow=char-alsa rw", "DeviceAllow=char-iio rw", "SupplementaryGroups=audio"]
    {
        assert!(text.lines().any(|line| line == needed), "{needed}");
    }
}
