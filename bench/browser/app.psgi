# The server of bench/browser/run: a page that receives the events of a named hub in one of several ways, with the browser's
# EventSource beside it if it is asked to, and keeps the time of each event.

use strict;
use warnings;

use EventSource::Hub;
use Plack::Builder;

my $hub = EventSource::Hub->new(
    name         => 'browser',
    socket       => $ENV{BENCH_HUB},
    keep_history => {events => 20_000, bytes => 2**26},
    start        => 'latest'
);

# Browsers make the times of other pages coarse.
my @ISOLATED = ('Cross-Origin-Opener-Policy' => 'same-origin', 'Cross-Origin-Embedder-Policy' => 'require-corp');
my $PAGE     = <<'HTML';
<!doctype html>
<meta charset="utf-8">
<title>Events</title>
<script type="module">
import { connect } from '/hub.js';

const query = new URLSearchParams(location.search);
const way = query.get('way');
if (way === 'leader') globalThis.SharedWorker = undefined;

// The time of each event of a source, by its number.
class Book {
  constructor(source) {
    this.forget();
    source.addEventListener('message', ({data}) => {
      const { number } = JSON.parse(data);
      if (number !== this.times.length) this.isInOrder = false;
      this.times[number] = performance.timeOrigin + performance.now();
      if (this.times.length === this.wanted) this.settle();
    });
    this.begins = new Promise(begin => source.addEventListener('position', begin));
  }

  forget() {
    Object.assign(this, {times: [], isInOrder: true, wanted: undefined});
  }

  until(count) {
    return new Promise(settle => {
      Object.assign(this, {wanted: count, settle});
      if (this.times.length === count) settle();
    });
  }
}

const open = () => way === 'EventSource' ? new EventSource('/events') : connect('/events', {share: way !== 'alone'});
const books = [new Book(open())];
if (query.get('beside')) books.push(new Book(new EventSource('/events')));
window.books = books;
window.untilAll = count => Promise.all(books.map(book => book.until(count))).then(() => true);
Promise.all(books.map(book => book.begins)).then(() => { document.title = 'ready'; });
</script>
HTML

builder {
    mount '/events' => $hub->to_app(channels => sub { return 'events' });
    mount '/hub.js' => EventSource::Hub->script_app;
    mount '/'       => sub { [200, [@ISOLATED, 'Content-Type' => 'text/html; charset=utf-8'], [$PAGE]] };
};
