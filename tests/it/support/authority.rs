//! Certificates, the servers that show them, and the TLS clients that believe in them.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::PATIENCE;
use super::wire::Wire;

/// A client's end of an encrypted connection.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority of the test's own, with a folder for what it issues.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    itself: CertificateDer<'static>,
    /// Whoever trusts it says so with this.
    pub(crate) pem: String,
}

/// A certificate with its key, both in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A client, with what it remembers from one connection to the next.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) config: ClientConfig,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        // Its own name: what is signed by its namesake counts as self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let itself = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pem = itself.pem();
        fs::write(folder.path().join("ca.pem"), &pem).unwrap();
        Self { folder, issuer: Issuer::new(params, key), itself: itself.der().clone(), pem }
    }

    /// A certificate for these names and addresses.
    pub(crate) fn issue(&self, hosts: &[&str]) -> Issued {
        self.issue_until(hosts, 4096)
    }

    /// One that is good until a year begins.
    pub(crate) fn issue_until(&self, hosts: &[&str], year: i32) -> Issued {
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(1975, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Writes a certificate for `hosts` to `NAME.pem` and its key to `NAME-key.pem`.
    pub(crate) fn write(&self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        self.save(name, &self.issue(hosts))
    }

    /// The same of one that was issued already.
    pub(crate) fn save(&self, name: &str, issued: &Issued) -> CertificateDer<'static> {
        let file = self.path(&format!("{name}-key.pem"));
        fs::write(&file, &issued.key).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        fs::write(self.path(&format!("{name}.pem")), &issued.certificate).unwrap();
        issued.chain().remove(0)
    }

    /// The pair of this name, for a server of the test's own.
    pub(crate) fn issued(&self, name: &str) -> Issued {
        let read = |name: String| fs::read_to_string(self.path(&name)).unwrap();
        Issued { certificate: read(format!("{name}.pem")), key: read(format!("{name}-key.pem")) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `proxy.toml` says to show the certificate of this name on an address.
    pub(crate) fn entry(&self, listen: &str, name: &str) -> String {
        format!("[[gateway.tls]]\nlisten = \"{listen}\"\n{}", self.pair(name))
    }

    /// The two keys that name its files.
    pub(crate) fn pair(&self, name: &str) -> String {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}-key.pem")));
        format!("certificate = \"{}\"\nprivate_key = \"{}\"\n", certificate.display(), key.display())
    }

    pub(crate) fn client(&self) -> Client {
        self.client_of(rustls::ALL_VERSIONS)
    }

    /// A client that knows only these versions of TLS.
    pub(crate) fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.itself.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client { config }
    }
}

impl Issued {
    /// A server's settings, offering these protocols.
    pub(crate) fn server(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain(), key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(Result::unwrap).collect()
    }
}

impl Client {
    /// Connects and shakes hands.
    #[track_caller]
    pub(crate) fn connect(&self, address: SocketAddr, host: &str) -> Wire<Tls> {
        self.try_connect(address, host).unwrap()
    }

    pub(crate) fn try_connect(&self, address: SocketAddr, host: &str) -> io::Result<Wire<Tls>> {
        self.over(TcpStream::connect(address)?, host)
    }

    /// Shakes hands over a connection that is there.
    pub(crate) fn over(&self, mut stream: TcpStream, host: &str) -> io::Result<Wire<Tls>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Wire::new(StreamOwned::new(connection, stream)))
    }

    /// The certificate that a client which asks for `host` is shown.
    #[track_caller]
    pub(crate) fn shown(&self, address: SocketAddr, host: &str) -> CertificateDer<'static> {
        let wire = self.connect(address, host);
        wire.stream.conn.peer_certificates().unwrap()[0].clone()
    }
}
