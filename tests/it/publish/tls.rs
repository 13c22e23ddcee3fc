//! Certificates: the right one is taken, every wrong one is refused by name and the alerts kept.

use std::io::Write;
use std::path::{Path, PathBuf};

use auscult::publish::{Config, State};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::rig::{Rig, config};
use crate::broker::{Broker, free_port, has_mosquitto, wait_for};

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Now,
    NoMore,
    NotYet,
}

/// Of the broker's certificate.
const SERIAL: u64 = 4711;

/// An authority and the folder of what it signed.
pub(super) struct Pki {
    dir: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate with the name of its issuer for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, "authority of the plant");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { dir: tempfile::tempdir().unwrap(), authority };
        pki.write("ca.pem", &pki.authority.pem());
        pki
    }

    /// A certificate for `name` and its key, as files.
    fn issue(&self, file: &str, name: &str, holds: Holds) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = (file == "server").then(|| SerialNumber::from(SERIAL));
        let year = |year| date_time_ymd(year, 1, 1);
        match holds {
            Holds::Now => {}
            Holds::NoMore => (params.not_before, params.not_after) = (year(2020), year(2021)),
            Holds::NotYet => (params.not_before, params.not_after) = (year(2400), year(2401)),
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.authority).unwrap();
        (
            self.write(&format!("{file}.pem"), &cert.pem()),
            self.write(&format!("{file}.key"), &key.serialize_pem()),
        )
    }

    /// The list of those revoked: the broker of [`SERIAL`], or nobody.
    fn revoke(&self, is_revoked: bool) -> PathBuf {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(SERIAL),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2025, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: is_revoked.then_some(revoked).into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write("crl.pem", &params.signed_by(&self.authority).unwrap().pem().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A broker with a good certificate on a port of its own, given too; its other port is plain.
    pub(super) fn broker(&self) -> (Broker, u16) {
        let port = free_port();
        let lines = lines(&self.ca(), &self.issue("server", "127.0.0.1", Holds::Now));
        (Broker::start(&format!("listener {port} 127.0.0.1\n{lines}")), port)
    }

    /// What a box needs to connect to it.
    pub(super) fn config(&self, port: u16) -> Config {
        with(port, self.ca(), self.issue("box", "box-1", Holds::Now))
    }
}

fn lines(ca: &Path, (cert, key): &(PathBuf, PathBuf)) -> String {
    let [ca, cert, key] = [ca, cert, key].map(|path| path.display().to_string());
    format!("cafile {ca}\ncertfile {cert}\nkeyfile {key}\nrequire_certificate true\n")
}

fn with(port: u16, ca: PathBuf, (cert, key): (PathBuf, PathBuf)) -> Config {
    Config { ca_file: Some(ca), cert_file: Some(cert), key_file: Some(key), ..config(port) }
}

/// The box names `why` and keeps its alerts.
fn refused(config: &Config, why: &str) -> Rig {
    let rig = Rig::start(config);
    rig.alerts(1..=3);
    wait_for(why, || rig.report().trouble.is_some_and(|trouble| trouble.contains(why)));
    wait_for("kept", || rig.rows() == 3);
    rig
}

#[test]
fn certificates_are_checked_both_ways() {
    if !has_mosquitto() {
        return;
    }
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (broker, port) = ours.broker();
    let good = ours.config(port);

    let rig = Rig::start(&good);
    rig.alerts(1..=10);
    rig.wait_state(State::Online);
    rig.wait_empty();
    rig.stop();

    let check = |config: Config, why: &str| drop(refused(&config, why).stop());
    let rogue = with(port, ours.ca(), theirs.issue("box", "box-1", Holds::Now));
    check(rogue, "refuses our certificate (mqtt.cert_file)");
    let none = Config { cert_file: None, key_file: None, ..good.clone() };
    check(none, "it wants one: set mqtt.cert_file and mqtt.key_file");
    check(Config { ca_file: Some(theirs.ca()), ..good.clone() }, "not signed by the authority");
    check(Config { ca_file: Some("/nowhere/ca.pem".into()), ..good.clone() }, "/nowhere/ca.pem");
    for holds in [Holds::NoMore, Holds::NotYet] {
        let own = with(port, ours.ca(), ours.issue("old", "box-1", holds));
        check(own, "refuses our certificate (mqtt.cert_file)");
    }
    // TLS asked of a plain port, and a plain word said to one that wants TLS.
    check(Config { port: broker.port, ..good }, "127.0.0.1");
    check(config(port), "127.0.0.1");
}

#[test]
fn a_brokers_bad_certificate_is_refused_and_a_new_one_taken_up_without_a_restart() {
    if !has_mosquitto() {
        return;
    }
    let pki = Pki::new();
    let own = pki.issue("box", "box-1", Holds::Now);
    for (name, holds, why) in [
        ("127.0.0.1", Holds::NoMore, "it has expired"),
        ("127.0.0.1", Holds::NotYet, "it is not valid yet"),
        ("other.plant", Holds::Now, "another host name"),
    ] {
        let server = pki.issue("server", name, holds);
        let mut broker = Broker::start(&lines(&pki.ca(), &server));
        let rig = refused(&with(broker.port, pki.ca(), own.clone()), why);
        broker.kill();
        pki.issue("server", "127.0.0.1", Holds::Now);
        broker.up();
        rig.wait_empty();
        rig.stop();
    }
}

#[test]
fn a_broker_whose_certificate_was_revoked_is_refused() {
    if !has_mosquitto() {
        return;
    }
    let (pki, other) = (Pki::new(), Pki::new());
    let (_broker, port) = pki.broker();
    let config = Config { crl_file: Some(pki.revoke(true)), ..pki.config(port) };
    let rig = refused(&config, "it was revoked");
    // A list that is not whole is no reason to believe anybody.
    pki.write("crl.pem", "");
    wait_for("no list", || {
        rig.report().trouble.is_some_and(|trouble| trouble.contains("mqtt.crl_file"))
    });
    assert_eq!(rig.rows(), 3);
    pki.revoke(false);
    rig.wait_empty();
    rig.stop();
    let config = Config { crl_file: Some(other.revoke(false)), ..config };
    refused(&config, "mqtt.crl_file is not of the authority").stop();
}

#[test]
fn our_own_certificate_is_rotated_without_a_restart() {
    if !has_mosquitto() {
        return;
    }
    let pki = Pki::new();
    let (_broker, port) = pki.broker();
    let own = pki.issue("box", "box-1", Holds::NoMore);
    let rig = refused(&with(port, pki.ca(), own), "refuses our certificate");
    // A key without its certificate is what a rotation looks like half way.
    pki.write("box.pem", "");
    pki.issue("box", "box-1", Holds::Now);
    rig.wait_empty();
    rig.stop();
}

/// What `auscult doctor` says of the broker, and whether all is good.
fn doctor(config: &Config) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = |key, file: &Option<PathBuf>| match file {
        Some(file) => format!("{key} = \"{}\"\n", file.display()),
        None => String::new(),
    };
    let text = format!(
        "site = \"works\"\ngateway = \"box-1\"\nstore.dir = \"store\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {}\n{}{}{}\
         [[asset]]\nid = \"fan\"\n[[asset.sensor]]\nid = \"de\"\nkind = \"vibration\"\n\
         axes = [\"radial\"]\nsource = {{ type = \"synth\" }}\n",
        config.port,
        path("ca_file", &config.ca_file),
        path("cert_file", &config.cert_file),
        path("key_file", &config.key_file),
    );
    let file = folder.path().join("auscult.toml");
    std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_auscult"));
    let out = command.arg("doctor").arg("--config").arg(file).output().unwrap();
    (String::from_utf8(out.stdout).unwrap(), out.status.success())
}

#[test]
fn the_doctor_meets_the_broker_as_the_appliance_would() {
    if !has_mosquitto() {
        return;
    }
    let (ours, theirs) = (Pki::new(), Pki::new());
    let (broker, port) = ours.broker();
    let good = ours.config(port);
    let (said, is_good) = doctor(&good);
    assert!(said.contains(&format!("good  broker: 127.0.0.1:{port}, TLS")), "{said}");
    assert!(is_good, "{said}");

    let (said, is_good) = doctor(&Config { ca_file: Some(theirs.ca()), ..good.clone() });
    assert!(said.contains("BAD   broker: ") && said.contains("openssl s_client"), "{said}");
    assert!(!is_good);

    let old = with(port, ours.ca(), ours.issue("old", "box-1", Holds::NoMore));
    let (said, is_good) = doctor(&old);
    assert!(said.contains("refuses our certificate") && !is_good, "{said}");

    let (said, _) = doctor(&config(broker.port));
    assert!(said.contains("not encrypted"), "{said}");
}
