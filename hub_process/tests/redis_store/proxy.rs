//! A wire to Redis that the test cuts, stops, delays, closes by half, or has swallow everything.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const UNLIMITED: i64 = i64::MAX / 2;

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    /// The bytes that may still pass: towards Redis, and back.
    left: [AtomicI64; 2],
    delay_ms: AtomicU64,
    is_swallowing: [AtomicBool; 2],
    is_refusing: AtomicBool,
    redis: AtomicU16,
    connections: AtomicU64,
    /// Connections with smaller numbers hold what goes to Redis.
    held_below: AtomicU64,
}

/// Threads end with the process of the test.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn new(redis: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { redis: redis.into(), ..Shared::default() });
        shared.left.iter().for_each(|left| left.store(UNLIMITED, Ordering::Relaxed));
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !of_thread.is_refusing.load(Ordering::Relaxed) {
                    of_thread.connect(client);
                }
            }
        });
        Self { port, shared }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Leads new connections to another Redis.
    pub fn lead_to(&self, redis: u16) {
        self.shared.redis.store(redis, Ordering::Relaxed);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        for socket in self.shared.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Cuts when so many more bytes have passed in a direction.
    pub fn cut_after(&self, towards_redis: bool, bytes: i64) {
        self.shared.left[usize::from(!towards_redis)].store(bytes, Ordering::Relaxed);
    }

    /// Closes connections when they are made.
    pub fn refuse(&self, is_refusing: bool) {
        self.shared.is_refusing.store(is_refusing, Ordering::Relaxed);
    }

    /// Closes the direction towards the store only.
    pub fn half_close(&self) {
        for socket in self.shared.open.lock().unwrap().iter() {
            let _ = socket.shutdown(Shutdown::Write);
        }
    }

    pub fn delay(&self, ms: u64) {
        self.shared.delay_ms.store(ms, Ordering::Relaxed);
    }

    pub fn swallow(&self, towards_redis: bool, is_swallowing: bool) {
        self.shared.is_swallowing[usize::from(!towards_redis)].store(is_swallowing, Ordering::Relaxed);
    }

    /// Lets the connections of now hold what goes to Redis, and deliver it when they are released, also if the store has given
    /// them up in the meantime.
    pub fn hold(&self) {
        self.shared.held_below.store(self.shared.connections.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Lets the first connection hold what goes to Redis: it is that of a store's reader.
    pub fn hold_reader(&self) {
        self.shared.held_below.store(1, Ordering::Relaxed);
    }

    pub fn release(&self) {
        self.shared.held_below.store(0, Ordering::Relaxed);
    }

    pub fn heal(&self) {
        self.release();
        self.shared.left.iter().for_each(|left| left.store(UNLIMITED, Ordering::Relaxed));
        self.delay(0);
        self.refuse(false);
        self.swallow(true, false);
        self.swallow(false, false);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let redis = self.redis.load(Ordering::Relaxed);
        let Ok(server) = TcpStream::connect(("127.0.0.1", redis)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
        let (Ok(kept), Ok(kept_too)) = (client.try_clone(), server.try_clone()) else { return };
        self.open.lock().unwrap().extend([kept, kept_too]);
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        for (direction, from, to) in [(0, client, server), (1, server_too, client_too)] {
            let shared = Arc::clone(self);
            thread::spawn(move || shared.copy(number, direction, from, to));
        }
    }

    fn copy(&self, number: u64, direction: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 16384];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            thread::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed)));
            while direction == 0 && number < self.held_below.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            if self.is_swallowing[direction].load(Ordering::Relaxed) {
                continue;
            }
            let left = self.left[direction].fetch_sub(count as i64, Ordering::Relaxed);
            let count = count.min(left.max(0) as usize);
            if to.write_all(&bytes[..count]).is_err() || left <= count as i64 && left < UNLIMITED / 2 {
                if left <= count as i64 {
                    self.left[direction].store(UNLIMITED, Ordering::Relaxed);
                }
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
