//! A PostgreSQL server that a test may stop.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A PostgreSQL server of our own; as root it runs as `nobody`, for it refuses root.
pub(crate) struct PostgresServer {
    folder: TempDir,
    port: u16,
    programs: PathBuf,
    as_root: bool,
    settings: String,
}

impl PostgresServer {
    pub(crate) fn new() -> Option<Self> {
        let server = Self::initialized()?;
        server.pg_ctl("start");
        Some(server)
    }

    fn initialized() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let newest = versions.flatten().map(|version| version.path().join("bin")).max()?;
        let folder = tempfile::tempdir().unwrap();
        let as_root = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap()) == 0;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { folder, port, programs: newest, as_root, settings: String::new() };
        if server.as_root {
            run(Command::new("chown").arg("nobody").arg(server.folder.path()));
        }
        run(server.command("initdb").args(["-N", "-A", "trust", "-U", "postgres", "-D", &server.data()]));
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// One that takes encrypted connections only, and from `certified` only with a certificate. Its own is for `localhost` and 127.0.0.1, and it
    /// listens at 127.0.0.2 too. It can replicate.
    #[cfg(feature = "cdc-logical-tls")]
    pub(crate) fn encrypted(authority: &Authority) -> Option<Self> {
        let mut server = Self::initialized()?;
        let (certificate, key) = authority.sign(&["localhost", "127.0.0.1"]);
        let write = |name: &str, text: &str| server.own_file(&format!("data/{name}"), text);
        write("server.crt", &certificate);
        write("server.key", &key);
        write("root.crt", &authority.pem());
        write("pg_hba.conf", "hostssl all certified 127.0.0.0/8 cert\nhostssl all all 127.0.0.0/8 trust\n");
        server.settings =
            "-c listen_addresses=127.0.0.1,127.0.0.2 -c wal_level=logical -c ssl=on -c ssl_ca_file=root.crt".to_owned();
        server.pg_ctl("start");
        Some(server)
    }

    /// As the server's user, who alone may read it.
    #[cfg(feature = "cdc-logical-tls")]
    fn own_file(&self, name: &str, text: &str) {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let (folder, file) = (self.folder.path().metadata().unwrap(), self.folder.path().join(name));
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        if self.as_root {
            chown(file, Some(folder.uid()), None).unwrap();
        }
    }

    #[cfg(feature = "cdc-logical-tls")]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> String {
        self.folder.path().join("data").to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if self.as_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path());
        command
    }

    /// `start`, or `stop`, which is a crash.
    pub(crate) fn pg_ctl(&self, what: &str) {
        let log = self.folder.path().join("log");
        let (port, folder) = (self.port, self.folder.path().display());
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -k {folder} {}", self.settings);
        let mut command = self.command("pg_ctl");
        command.args(["-w", "-D", &self.data(), "-l", log.to_str().unwrap(), "-o", &options, "-m", "immediate", what]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{what}");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.pg_ctl("stop");
    }
}

/// A certificate authority made on the spot.
#[cfg(feature = "cdc-logical-tls")]
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

#[cfg(feature = "cdc-logical-tls")]
impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), issuer: rcgen::Issuer::new(params, key) }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for a host of these names, or a holder of the first, and its key.
    pub(crate) fn sign(&self, names: &[&str]) -> (String, String) {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
