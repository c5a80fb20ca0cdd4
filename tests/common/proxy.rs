//! A TCP proxy on loopback that can be cut and restored: a network partition in a test.
#![allow(dead_code, clippy::expect_used, clippy::panic)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// How often a thread looks whether the state changed.
const TICK: Duration = Duration::from_millis(10);

const OPEN: u8 = 0;
const SILENT: u8 = 1;
const CLOSED: u8 = 2;

struct State {
    mode: AtomicU8,
    ended: AtomicBool,
}

impl State {
    fn mode(&self) -> u8 {
        if self.ended.load(Ordering::SeqCst) { CLOSED } else { self.mode.load(Ordering::SeqCst) }
    }
}

/// Forwards connections to one target until it is dropped.
pub struct Proxy {
    /// Port to connect to instead of the target's.
    pub port: u16,
    state: Arc<State>,
    listener: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Starts forwarding to a loopback port.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let port = listener.local_addr().expect("its address").port();
        listener.set_nonblocking(true).expect("a listener that does not block");
        let state = Arc::new(State { mode: AtomicU8::new(OPEN), ended: AtomicBool::new(false) });
        let shared = Arc::clone(&state);
        let listener = std::thread::spawn(move || accept(&listener, target, &shared));
        Self { port, state, listener: Some(listener) }
    }

    /// The network is cut without a word: connections stay, no byte passes. What was sent arrives after [`Proxy::restore`],
    /// as TCP sends again; new connections wait.
    pub fn cut(&self) {
        self.state.mode.store(SILENT, Ordering::SeqCst);
    }

    /// Connections break at once, and new ones break as soon as they are made.
    pub fn sever(&self) {
        self.state.mode.store(CLOSED, Ordering::SeqCst);
    }

    /// The network is whole again.
    pub fn restore(&self) {
        self.state.mode.store(OPEN, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn accept(listener: &TcpListener, target: u16, state: &Arc<State>) {
    while !state.ended.load(Ordering::SeqCst) {
        match (state.mode(), listener.accept()) {
            (CLOSED, Ok((client, _))) => drop(client),
            (_, Ok((client, _))) => {
                let state = Arc::clone(state);
                std::thread::spawn(move || connect(client, target, &state));
            }
            (_, Err(error)) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(TICK),
            (_, Err(error)) => panic!("the proxy cannot accept: {error}"),
        }
    }
}

/// Waits while the network is cut, then joins the two ends.
fn connect(client: TcpStream, target: u16, state: &Arc<State>) {
    while state.mode() == SILENT {
        std::thread::sleep(TICK);
    }
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))) else { return };
    let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
    let shared = Arc::clone(state);
    std::thread::spawn(move || pump(from_client, server, &shared));
    pump(from_server, client, state);
}

/// Copies one direction until an end closes or the network breaks; then closes both.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &State) {
    // Without this the two ends may block for ever on a connection that carries nothing.
    let _ = from.set_read_timeout(Some(TICK));
    let _ = from.set_nodelay(true);
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; 64 * 1024];
    'copying: loop {
        match state.mode() {
            OPEN => {}
            SILENT => {
                std::thread::sleep(TICK);
                continue;
            }
            _ => break,
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                // The cut may have come while this read waited.
                while state.mode() == SILENT {
                    std::thread::sleep(TICK);
                }
                if state.mode() == CLOSED || to.write_all(&buffer[..length]).is_err() {
                    break 'copying;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
