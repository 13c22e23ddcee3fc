//! The configuration's face: what is shipped loads and is complete, and every mistake is told where it
//! stands with a fix.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use auscult::config::Config;
use auscult::store::replace;

/// A good configuration, with places to put something wrong.
const GOOD: &str = r#"site = "plant"
gateway = "box"

[[asset]]
id = "pump"

[[asset.sensor]]
id = "de"
kind = "vibration"

[asset.sensor.source]
type = "synth"
"#;

const SOUND: &str = "type = \"sound\"\ndevice = \"serial:1\"\n";

/// `GOOD` with every `from` replaced by `to`.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

/// `GOOD` with lines at its end, in the source's table.
fn and(lines: &str) -> String {
    format!("{GOOD}{lines}\n")
}

/// `GOOD` with another source.
fn source(lines: &str) -> String {
    with("type = \"synth\"\n", lines)
}

/// A sound card as the source, with more lines.
fn sound(lines: &str) -> String {
    source(&format!("{SOUND}{lines}\n"))
}

/// What is wrong with the form, by what it is called.
fn mistakes_of_form() -> Vec<(&'static str, String)> {
    vec![
        ("not TOML", with("site = \"plant\"", "site = plant")),
        ("half written", GOOD[..GOOD.len() - 4].to_owned()),
        ("key twice", with("gateway", "site = \"b\"\ngateway")),
        ("empty", String::new()),
        ("unknown key at the top", with("gateway = \"box\"", "gatway = \"box\"")),
        ("unknown table", and("[mtqq]\nport = 1")),
        ("unknown key of a room", and("[asset.sensor.extract]\nwindw_ms = 500")),
        ("unknown key, nothing like it", and("[advise]\ncolour = \"red\"")),
        ("unknown key of a source", and("ratehz = 16000")),
        ("unknown key deep in a source", and("bearing = { bpfo = 3.5, bpfy = 5.4 }")),
        ("several at once", and("rate = 5\naxes = \"two\"\n[detect]\nlearn_s = true\nlern_s = 1")),
        (
            "one in every table",
            and("[mqtt]\nhots = \"pi\"\n[store]\nfolder = \"x\"")
                .replace("id = \"pump\"", "name = \"pump\"")
                .replace("id = \"de\"", "name = \"de\"")
                .replace("\"synth\"", "\"sinth\""),
        ),
        ("number in quotes", and("[extract]\nwindow_ms = \"500\"")),
        ("text for a number", and("[asset.extract]\nwindow_ms = \"half a second\"")),
        ("number for a text", with("\"pump\"", "7")),
        ("text for a truth", and("[advise]\nlatch = \"true\"")),
        ("one for many", with("kind", "axes = \"radial\"\nkind")),
        ("negative count", and("[mqtt]\nport = -1")),
        ("too large for its type", and("[mqtt]\nport = 70000")),
        ("wrong word", with("\"vibration\"", "\"vibrations\"")),
        ("wrong unit", sound("unit = \"mm\"")),
        ("unit of another sensor", sound("unit = \"Pa\"")),
        ("no number", and("[asset.detect]\nlearn_s = nan")),
        ("infinite", and("[extract]\nrecord_ms = inf")),
        ("machine twice", format!("{GOOD}{}", &GOOD[GOOD.find("[[asset]]").unwrap()..])),
        ("sensor twice", format!("{GOOD}{}", &GOOD[GOOD.find("[[asset.sensor]]").unwrap()..])),
        ("no machine", GOOD[..GOOD.find("[[asset]]").unwrap()].to_owned()),
        ("no sensor", GOOD[..GOOD.find("[[asset.sensor]]").unwrap()].to_owned()),
        ("no id", with("id = \"de\"\n", "")),
        ("no source", GOOD[..GOOD.find("[asset.sensor.source]").unwrap()].to_owned()),
        ("no type", source("rate_hz = 5\n")),
        ("unknown type", source("type = \"alsa\"\n")),
        ("bad identifier", with("\"pump\"", "\"Pump 3/a\"")),
        ("reserved identifier", with("\"pump\"", "\"status\"")),
        ("long identifier", with("\"box\"", &format!("\"{}\"", "b".repeat(65)))),
    ]
}

/// What is wrong with the values, and with what goes together.
fn mistakes_of_value() -> Vec<(&'static str, String)> {
    vec![
        ("no device", source("type = \"sound\"\n")),
        ("device by number", source("type = \"iio\"\ndevice = \"iio:device0\"\n")),
        ("device used twice", {
            let second = "[[asset.sensor]]\nid = \"nde\"\nkind = \"vibration\"\n";
            sound(&format!("{second}[asset.sensor.source]\n{SOUND}"))
        }),
        ("more names than channels", with("kind", "axes = [\"x\", \"y\"]\nkind")),
        ("gains for other channels", sound("units_per_full_scale = [1.0, 2.0]")),
        ("sound rate", sound("rate_hz = 0")),
        ("tcp channels", source("type = \"tcp\"\nchannels = 0\n")),
        ("tcp address", source("type = \"tcp\"\naddress = \"localhost\"\n")),
        ("recording start", source("type = \"recording\"\npath = \"a.wav\"\nstart = \"today\"\n")),
        ("synth range", and("speed_rpm = 0.5")),
        ("synth nested range", and("bearing = { ftf = 0.4, bpfo = 0.1, bpfi = 5.4, bsf = 2.3 }")),
        ("extract range", and("[asset.sensor.extract]\nmel_bands = 4")),
        ("speed range", and("[asset.speed]\nspeed_min_rpm = 100\nspeed_max_rpm = 900")),
        ("tacho of another sensor", and("[asset.sensor.speed]\ntacho_channel = 3")),
        ("detect range", and("[detect]\nfalse_alarms_per_year = 0")),
        ("assess range", and("[asset.assess]\nslip_tolerance = 0.5")),
        ("assess group", and("[asset.assess]\ngroup = 9")),
        ("bearing in Hz", {
            and("[asset.assess.bearing]\nftf = 9.9\nbpfo = 89.0\nbpfi = 135.0\nbsf = 58.9")
        }),
        ("bearing without an order", and("[asset.assess]\nbearing = { bpfo = 3.5 }")),
        ("bearing given twice", {
            and(
                "[asset.assess]\nbearing_designation = \"NICE\"\nbearing = { ftf = 0.4, bpfo = 3.2, bpfi = 4.7, bsf = 2.5 }",
            )
        }),
        ("bearing nobody knows", and("[asset.assess]\nbearing_designation = \"6205\"")),
        ("forecast range", and("[forecast]\nreach_max = 0")),
        ("advise range", and("[advise]\non_windows = 0")),
        ("advise order", and("[advise]\nlife_urgent_h = 1000")),
        ("store range", and("[store]\noutbox_bytes_max = 5")),
        ("mqtt range", and("[mqtt]\nkeep_alive_s = 1")),
        ("mqtt without its key", and("[mqtt]\nca_file = \"ca.pem\"\ncert_file = \"c.pem\"")),
        ("no model file", with("kind", "model = \"absent.bin\"\nkind")),
        ("no certificate", and("[mqtt]\nca_file = \"absent.pem\"")),
    ]
}

/// The mistakes in `text`, as a person sees them, and as a program does.
fn told(text: &str) -> String {
    match Config::parse(Path::new("auscult.toml"), text) {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn good_is_good() {
    assert_eq!(told(GOOD), "good");
}

#[test]
fn every_mistake_is_told_where_it_stands_with_a_fix() {
    let mut all = String::new();
    for (what, text) in mistakes_of_form().into_iter().chain(mistakes_of_value()) {
        writeln!(all, "## {what}\n{}\n", told(&text)).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_file_from_hell_is_refused_or_read_never_worse() {
    let deep =
        |open: &str, close: &str| format!("a = {}1{}", open.repeat(20_000), close.repeat(20_000));
    let hell = [
        deep("[", "]"),
        deep("{a=", "}"),
        format!("{}x = 1", "a.".repeat(100_000)),
        format!("[{}x]", "a.".repeat(100_000)),
        "[[asset]]\n".repeat(50_000),
        "\u{feff}".to_owned() + GOOD,
        GOOD.replace('\n', "\r\n"),
        GOOD.replace("plant", "pl\u{0}ant"),
    ];
    for text in hell {
        let told = told(&text);
        assert!(told == "good" || told.starts_with("auscult.toml:"), "{told:.300}");
        assert!(told.len() < 20_000_000);
    }
}

fn config_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(config_file(name)).unwrap()
}

/// `config/auscult.toml` with every key that is shown taken in.
fn taken_in(text: &str) -> String {
    let begins =
        |rest: &str| rest.starts_with('[') || rest.starts_with(|c: char| c.is_ascii_lowercase());
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if begins(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every key that the schema knows, once.
fn keys_of(schema: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(serde_json::Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            object.values().for_each(|value| keys_of(value, keys));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| keys_of(value, keys)),
        _ => {}
    }
}

#[test]
fn the_shipped_configuration_is_good_and_shows_every_key() {
    let text = read("auscult.toml");
    assert_eq!(told(&text), "good");
    let mut keys = BTreeSet::new();
    keys_of(&serde_json::from_str(&Config::schema()).unwrap(), &mut keys);
    assert!(keys.len() > 100, "{keys:?}");
    let is_shown = |key: &String| {
        let written = [format!("{key} = "), format!("[{key}]"), format!(".{key}]")];
        text.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            let names = |it: &String| line.starts_with(it) || line.contains(&format!(" {it}"));
            written.iter().any(|it| names(it) || (line.starts_with('[') && line.contains(it)))
        })
    };
    let hidden: Vec<&String> = keys.iter().filter(|key| !is_shown(key)).collect();
    assert!(hidden.is_empty(), "config/auscult.toml does not show {hidden:?}");
}

/// Values of `defaults` that `table` writes otherwise.
fn differing(table: &toml::Table, defaults: &toml::Table) -> Vec<String> {
    let other = |(key, usual): (&String, &toml::Value)| {
        let written = table.get(key)?;
        (written != usual).then(|| format!("{key} = {written}, but the default is {usual}"))
    };
    defaults.iter().filter_map(other).collect()
}

fn usual<T: Default + serde::Serialize>() -> toml::Table {
    toml::Table::try_from(T::default()).unwrap()
}

#[test]
fn the_defaults_shown_are_the_defaults() {
    let text = taken_in(&read("auscult.toml"));
    let file: toml::Table = text.parse().unwrap();
    let check = |table: &toml::Value, defaults: toml::Table, but: &[&str]| {
        let mut wrong = differing(table.as_table().unwrap(), &defaults);
        wrong.retain(|it| !but.iter().any(|key| it.starts_with(key)));
        assert!(wrong.is_empty(), "{wrong:?}");
    };
    check(&file["store"], usual::<auscult::store::Config>(), &[]);
    check(&file["mqtt"], usual::<auscult::publish::Config>(), &[]);
    check(&file["extract"], usual::<auscult::extract::Config>(), &[]);
    check(&file["detect"], usual::<auscult::detect::Config>(), &[]);
    check(&file["assess"], usual::<auscult::assess::Config>(), &[]);
    check(&file["forecast"], usual::<auscult::forecast::Config>(), &[]);
    check(&file["advise"], usual::<auscult::advise::Config>(), &[]);
    let asset = &file["asset"][0];
    check(&asset["speed"], usual::<auscult::extract::SpeedConfig>(), &[]);
    let source = &asset["sensor"][0]["source"];
    check(source, usual::<auscult::acquire::SynthConfig>(), &["axes", "pace"]);
    // With all of it taken in, only the files it names are missing, and whose password it is.
    let error = told(&text);
    let places: Vec<&str> = error.lines().filter(|it| it.starts_with("auscult.toml:")).collect();
    let is_expected = |it: &&str| it.contains("_file: ") || it.contains("mqtt.username: ");
    assert!(places.len() == 6 && places.iter().all(is_expected), "{error}");
}

#[test]
fn every_example_is_good_once_its_files_are_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("secrets")).unwrap();
    for (name, mark) in [
        ("password", ""),
        ("ca.pem", "CERTIFICATE"),
        ("crl.pem", "X509 CRL"),
        ("box.pem", "CERTIFICATE"),
        ("box.key", "PRIVATE KEY"),
    ] {
        replace(
            &dir.path().join("secrets").join(name),
            format!("-----BEGIN {mark}-----").as_bytes(),
        )
        .unwrap();
    }
    let mut n_examples = 0;
    for entry in fs::read_dir(config_file("examples")).unwrap().map(Result::unwrap) {
        let text = fs::read_to_string(entry.path()).unwrap();
        let config = Config::parse(&dir.path().join(entry.file_name()), &text);
        assert!(config.is_ok(), "{}", config.unwrap_err());
        n_examples += 1;
    }
    assert!(n_examples >= 4);
}

#[test]
fn the_schema_is_that_of_the_code() {
    let path = config_file("auscult.schema.json");
    if std::env::var_os("AUSCULT_REMAKE").is_some() {
        replace(&path, Config::schema().as_bytes()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == Config::schema(),
        "run this test with AUSCULT_REMAKE=1 and look at the difference"
    );
}

fn auscult(args: &[&str]) -> (Option<i32>, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_auscult")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

#[test]
fn check_leaves_with_78_and_tells_programs_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    replace(&path, and("seeed = 5").as_bytes()).unwrap();
    let path = path.to_str().unwrap();
    let (code, out, err) = auscult(&["check", "--json", "--config", path]);
    assert_eq!(code, Some(78));
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let expect = serde_json::json!({ "ok": false, "faults": [{
        "file": path, "line": 13, "column": 1, "message": "unknown field `seeed`",
        "fix": "did you mean `seed`?",
    }]});
    assert_eq!(told, expect);
    assert!(err.contains(&format!("{path}:13:1: unknown field `seeed`")), "{err}");
    let (code, out, _) =
        auscult(&["check", "--config", config_file("auscult.toml").to_str().unwrap()]);
    assert!(code == Some(0) && out.contains("good"), "{out}");
}

#[test]
fn what_is_no_text_or_far_too_long_is_refused_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    replace(&path, b"site = \"a\"\ngateway = \"\xff\"\n").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.contains("a.toml:2:12: this byte is not UTF-8"), "{error}");
    let error = Config::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
}

#[test]
fn doctor_names_what_is_bad_and_what_to_type() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    let text = and("[mqtt]\nhost = \"127.0.0.1\"\nport = 1\n[store]\ndir = \"store\"");
    replace(&path, text.as_bytes()).unwrap();
    let (code, out, _) = auscult(&["doctor", "--json", "--config", path.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let grade = |name: &str| {
        let checks = told["checks"].as_array().unwrap();
        let check = checks.iter().find(|it| it["check"] == name);
        check.unwrap_or_else(|| panic!("{name}: {out}"))["grade"].as_str().unwrap().to_owned()
    };
    assert_eq!(grade("broker"), "bad");
    assert_eq!(grade("sensor pump/de"), "good");
    assert_eq!(grade("folder"), "good");
    assert!(!dir.path().join("store").exists(), "the doctor makes nothing");
}
