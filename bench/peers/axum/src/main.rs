//! The peer axum of `bench/peers/run`: streams that are subscribed to one `tokio::sync::broadcast` channel, by
//! `axum::response::sse` with its default keepalive, on tokio's default runtime (one thread for each core).
//!
//! - `GET /events`: a stream
//! - `POST /push?rounds=R&interval=S&bytes=B`: publishes R events, S seconds apart or flat out if S is 0, each with B bytes
//!   of data. Answers when all are published; they may not all be sent then.
//! - `POST /say`: publishes an event whose data is the body
//!
//! With PEER_COMPRESS a client that accepts gzip is sent that, by tower-http.
//!
//! An event is built once and cloned for each stream, which costs less than building it in each stream, as many
//! applications do. Sending one `Bytes` as a plain body would cost slightly less still, but would not use `response::sse`
//! and its keepalives. The channel has room for PEER_ROOM events: a stream that lags further misses some. Nagle's algorithm
//! is off, as the documentation of `ListenerExt` shows.

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
use tower_http::compression::predicate::SizeAbove;
use tower_http::compression::CompressionLayer;

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
    let app = Router::new().route("/events", get(subscribe)).route("/push", post(publish)).route("/say", post(say));
    let mut app = app.with_state(hub);
    if std::env::var_os("PEER_COMPRESS").is_some() {
        // By default this layer leaves out event streams.
        app = app.layer(CompressionLayer::new().compress_when(SizeAbove::new(0)));
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|socket| {
        let _ = socket.set_nodelay(true); // fails if the client has left
    });
    Ok(axum::serve(listener, app).await?)
}

async fn subscribe(State(hub): State<Hub>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = BroadcastStream::new(hub.events.subscribe()).filter_map(|event| event.ok().map(Ok));
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn say(State(hub): State<Hub>, data: String) {
    let id = hub.last_id.fetch_add(1, Ordering::Relaxed) + 1;
    let _ = hub.events.send(Event::default().id(id.to_string()).data(data)); // fails if there is no subscriber
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
        let _ = hub.events.send(Event::default().id(id.to_string()).data(data)); // fails if there is no subscriber
        let now_ns = now_ns();
        due_ns = if interval_ns == 0 { now_ns } else { due_ns + interval_ns };
        late += u64::from(now_ns > due_ns);
    }
    Json(Pushed { pushed: plan.rounds, late })
}

/// Returns the time of CLOCK_MONOTONIC, which the benchmark's client reads too.
fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
