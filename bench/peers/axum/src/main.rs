//! What `bench/peers/run` measures as axum: streams that follow one `tokio::sync::broadcast` channel, through
//! `axum::response::sse` with its default keepalive, on tokio's default runtime (a thread a core).
//!
//! - `GET /events`: a stream
//! - `POST /push?rounds=R&interval=S&bytes=B`: publishes R events, S seconds apart or flat out with 0, each with B bytes of
//!   data; answers when all are published, which is not when all are sent
//!
//! An event is built once and cloned for each stream, which is less than to build it anew in each, as many do. To send the
//! bytes of one `Bytes` as a plain body would save a little more, but would do without `response::sse` and its
//! keepalives. The channel has room for PEER_ROOM events: a stream that is further behind than that misses some.
//! Nagle's algorithm is off, as the documentation of `ListenerExt` shows.

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use rustix::time::{clock_gettime, ClockId};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

#[derive(Clone)]
struct Hub {
    events: broadcast::Sender<Event>,
    last_id: Arc<AtomicU64>,
}

#[derive(Deserialize)]
struct Plan {
    rounds: u64,
    interval: f64,
    bytes: usize,
}

#[derive(Serialize)]
struct Pushed {
    pushed: u64,
    late: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::var("PEER_PORT")?.parse()?;
    let (events, _) = broadcast::channel(std::env::var("PEER_ROOM")?.parse()?);
    let hub = Hub { events, last_id: Arc::default() };
    let app = Router::new().route("/events", get(follow)).route("/push", post(publish)).with_state(hub);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|socket| {
        let _ = socket.set_nodelay(true); // a client that has left already
    });
    Ok(axum::serve(listener, app).await?)
}

async fn follow(State(hub): State<Hub>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = BroadcastStream::new(hub.events.subscribe()).filter_map(|event| event.ok().map(Ok));
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn publish(State(hub): State<Hub>, Query(plan): Query<Plan>) -> Json<Pushed> {
    let interval_ns = Duration::from_secs_f64(plan.interval).as_nanos() as u64;
    let (mut due_ns, mut late) = (now_ns(), 0);
    for _ in 0..plan.rounds {
        let pause = Duration::from_nanos(due_ns.saturating_sub(now_ns()));
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let id = hub.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let data = format!("{:x<1$}", format!("{due_ns} {} ", now_ns()), plan.bytes);
        let _ = hub.events.send(Event::default().id(id.to_string()).data(data)); // nobody may follow
        let now_ns = now_ns();
        due_ns = if interval_ns == 0 { now_ns } else { due_ns + interval_ns };
        late += u64::from(now_ns > due_ns);
    }
    Json(Pushed { pushed: plan.rounds, late })
}

/// CLOCK_MONOTONIC, as the client of the benchmark reads it.
fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
