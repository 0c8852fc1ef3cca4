//! Servers that others wrote, as processes of their own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::authority::Issued;
use super::until;

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
    /// Where it speaks TLS, if it does.
    pub(crate) secure: SocketAddr,
}

/// Tries before a port that was free a moment ago is really had.
const TRIES: usize = 10;

impl Server {
    /// nginx with files of its own; HTTP/1.1, and over TLS HTTP/2 as well.
    pub(crate) fn nginx(issued: &Issued) -> Self {
        for _ in 0..TRIES {
            let folder = tempfile::tempdir().unwrap();
            let (address, secure) = (free_address(), free_address());
            let path = folder.path().display();
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .iter()
                .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
                .collect();
            let config = format!(
                "daemon off; master_process off; pid {path}/pid; error_log {path}/errors;\n\
                 events {{}}\nhttp {{\naccess_log off; root {path}/files; {temporary}\
                 gzip on; gzip_types text/plain; gzip_vary on; absolute_redirect off;\n\
                 server {{\nlisten {address}; listen {secure} ssl http2;\n\
                 ssl_certificate {path}/certificate.pem; ssl_certificate_key {path}/key.pem;\n\
                 location /nothing {{ return 204; }}\nlocation /moved {{ return 302 /small.txt; }}\n\
                 location /say {{ return 200 \"$request_method $server_protocol $host $http_x_portcullis_app\"; }}\n}}\n}}\n"
            );
            fs::write(folder.path().join("nginx.conf"), config).unwrap();
            fs::write(folder.path().join("certificate.pem"), &issued.certificate).unwrap();
            fs::write(folder.path().join("key.pem"), &issued.key).unwrap();
            fs::create_dir(folder.path().join("files")).unwrap();
            // Debian keeps servers where only root looks for programs.
            let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"]
                .into_iter()
                .find(|path| Path::new(path).exists());
            let mut command = Command::new(program.unwrap_or("nginx"));
            command.arg("-c").arg(folder.path().join("nginx.conf")).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let listens = |address| TcpStream::connect(address).is_ok();
            let started = until("nginx, or its end", || match child.try_wait().unwrap() {
                Some(_) => Some(false),
                None => (listens(address) && listens(secure)).then_some(true),
            });
            if started {
                return Self { child, folder, address, secure };
            }
        }
        panic!("nginx does not start");
    }

    /// Python's own server of files, which speaks HTTP/1.0.
    pub(crate) fn python() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]).current_dir(&files);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split(" port ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { child, folder, address, secure: address }
    }

    /// Puts a file where it is served.
    pub(crate) fn serve(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join("files").join(name), bytes).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
