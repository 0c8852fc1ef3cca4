//! `[admin]`: where the admin side listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::gateway::collide;
use super::section::Section;
use super::value::{Given, address, path};
use super::{Admin, Gateway, certificate, environment};
use crate::model::{HostPattern, Upstream};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
/// What fits into a Unix socket's address beside the NUL at its end.
const SOCKET_BYTES: usize = 107;

impl Admin {
    /// Whether an upstream is the admin side, as far as can be told without asking a name server. The admin socket
    /// refuses what was forwarded in any case.
    #[must_use]
    pub fn is_at(&self, upstream: &Upstream) -> bool {
        match upstream {
            Upstream::Tcp(..) => {
                let here = |ip: IpAddr| {
                    ip == self.listen.ip() || ip.to_canonical().is_loopback() || ip.is_unspecified()
                };
                environment::address(upstream)
                    .is_some_and(|address| address.port() == self.listen.port() && here(address.ip()))
            }
            Upstream::Unix(path) => {
                let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
                real(path) == real(&self.socket)
            }
        }
    }
}

pub(super) fn read(section: &mut Section<'_>, gateway: &Gateway) -> Admin {
    let wrong_before = section.count();
    let tls = section.table("tls", certificate::pair);
    // One that is asked for and wrong is reported as such, and not as missing too.
    let encrypted = tls.is_some() || section.count() > wrong_before;
    Admin {
        listen: listen(section, gateway, encrypted),
        socket: socket(section),
        hosts: section
            .list("hosts", "a list of host names, as in [\"admin.example.com\"]", host)
            .map_or_else(Vec::new, |list| list.items.into_iter().map(|item| item.value).collect()),
        tls,
    }
}

fn listen(section: &mut Section<'_>, gateway: &Gateway, encrypted: bool) -> SocketAddr {
    let read = section.read("listen", address);
    let place = read.as_ref().map_or_else(|| section.place().clone(), |read| read.place.clone());
    let listen = read.map_or(DEFAULT_LISTEN, |read| read.value);
    let mut others = gateway.listen.iter().map(|listen| (listen, "gateway.listen"));
    let mut encrypted_others = gateway.tls.iter().map(|entry| (&entry.listen, "gateway.tls"));
    let taken = |(address, _): &(&SocketAddr, &str)| collide(**address, listen);
    if !listen.ip().to_canonical().is_loopback() && !encrypted {
        let wrong = "is not loopback: it needs [admin.tls]; or listen on 127.0.0.1, or use the socket";
        section.mistake(&place, "listen", wrong);
    } else if let Some((taken, key)) = others.find(taken).or_else(|| encrypted_others.find(taken)) {
        let wrong = format!("is {listen}, which {taken} of `{key}` occupies: take another port");
        section.mistake(&place, "listen", &wrong);
    }
    listen
}

fn socket(section: &mut Section<'_>) -> PathBuf {
    let Some(read) = section.read("socket", path) else {
        return section.claim("socket", "portcullis.sock", None);
    };
    let socket = section.claim("socket", &read.value, Some(read.place.clone()));
    if socket.as_os_str().len() > SOCKET_BYTES {
        let wrong =
            format!("is longer than a Unix socket's path may be: {SOCKET_BYTES} bytes with its folder");
        section.mistake(&read.place, "socket", &wrong);
    }
    socket
}

/// A name as it stands in `Host`, without the port.
fn host(given: &Given<'_>) -> Result<String, String> {
    const WHAT: &str = "a host name without scheme and port, as in \"admin.example.com\"";
    match HostPattern::parse(given.text(WHAT)?) {
        Some(HostPattern::Exact(host)) => Ok(host.into()),
        Some(HostPattern::Wildcard(_)) | None => Err(format!("wants {WHAT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_side_is_no_upstream() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        std::fs::write(&socket, "").unwrap();
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        let listen = "10.0.0.1:9180".parse().unwrap();
        let admin = Admin { listen, socket: socket.clone(), hosts: Vec::new(), tls: None };
        let leads = |url: &str| admin.is_at(&Upstream::parse(url).unwrap());
        for bad in [
            "http://10.0.0.1:9180",
            "http://127.0.0.1:9180",
            "http://localhost:9180",
            "http://[::1]:9180",
            "http://[::ffff:127.0.0.1]:9180",
            "https://0.0.0.0:9180",
        ] {
            assert!(leads(bad), "{bad}");
        }
        for good in ["http://10.0.0.1:9181", "http://10.0.0.2:9180", "http://127.0.0.1", "unix:/run/app.sock"]
        {
            assert!(!leads(good), "{good}");
        }
        let dotted = folder.path().join("../").join(folder.path().file_name().unwrap()).join("admin.sock");
        for path in [socket, link, dotted] {
            assert!(leads(&format!("unix:{}", path.display())), "{}", path.display());
        }
    }
}
