//! The server itself, over real sockets: clients that are slow, many, or do not leave.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<Result<(), WebError>>,
}

async fn running(app: App) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, app, stop.clone().cancelled_owned()));
    Running { address, stop, server }
}

/// Sends a request and reads until the server closes, for at most five seconds.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("the server closes").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_endless_clients_are_shown_out() {
    let out = archive_of("field-1");
    // larger than the buffers between two sockets
    let big = out.path().join("field-1/sheet.png");
    std::fs::File::options().write(true).open(&big).unwrap().set_len(256 << 20).unwrap();
    let limits = Limits { connections: 1, stall: Duration::from_millis(400), ..Limits::default() };
    let running = running(app(out.path(), limits)).await;

    // half a request: the only place is taken until it is timed out
    let start = Instant::now();
    let mut half = TcpStream::connect(running.address).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = exchange(running.address, LIVEZ).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());

    // a large file that nobody takes
    let mut deaf = TcpStream::connect(running.address).await.unwrap();
    deaf.write_all(b"GET /exposures/field-1/files/sheet.png HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = exchange(running.address, LIVEZ).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // a body without end is not read
    let endless = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000000\r\n\r\nxxxx";
    let answer = exchange(running.address, endless).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    // nor is a head without end
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let answer = exchange(running.address, &long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    drop((half, deaf));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_does_not_wait_for_those_who_stay() {
    let out = tempfile::tempdir().unwrap();
    let running = running(app(out.path(), Limits::default())).await;
    let mut live = TcpStream::connect(running.address).await.unwrap();
    live.write_all(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut piece = [0; 64];
    assert!(live.read(&mut piece).await.unwrap() > 0);
    let idle = TcpStream::connect(running.address).await.unwrap();
    let start = Instant::now();
    running.stop.cancel();
    running.server.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), live.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the stream ended");
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
    drop(idle);
}
