# Two tabs in a real browser with one stream, while what is behind it fails: each receives what was published meanwhile, once
# and in order. Where the hub has lost its history, a gap comes before.

use lib 't/lib';
use Testing qw(Tabs=Chromium);
use Testing::Nginx;

my $tabs = Testing::Tabs->start('Chromium', start => 'oldest');

# A tab with an EventSource, beside the script.
sub event_source {
    my $url = shift;
    my $tab = $tabs->browser->new_tab($url =~ s{(/)[^/]*\z}{$1blank}r);
    $tab->evaluate("window.source = new EventSource('$url'), 1");
    return $tab;
}

# Ends the streams of the hub; the clients come back at once.
sub end_streams {
    $tabs->hub->end(topics => 'numbers');
    return;
}

sub seen_ok {
    my ($event, $name) = @_;
    $_->wait_for("events.includes('$event')", "tab $_->{name}: $name") for $tabs->tabs;
    return;
}

# Chromium freezes pages in the background, and sends one that was frozen no more of its responses.
subtest 'the tab that reads the stream is frozen' => sub {
    $tabs->open(without => 'SharedWorker') for 1, 2;
    my $leader = $tabs->leader;
    my $freeze = sub { $tabs->browser->ask_in($leader, 'Page.setWebLifecycleState', state => shift) };
    $leader->evaluate(q{document.addEventListener('resume', () => window.isBack = true), 1});
    $freeze->('frozen');
    $tabs->publish(5);
    $freeze->('active');
    $leader->wait_for('window.isBack', 'it is there again');
    $tabs->each_receives_ok(5, 'each tab has what was published meanwhile');
    $tabs->close_tabs;
};

subtest 'the server is killed, and started on the same port' => sub {
    $tabs->open for 1, 2;
    kill KILL => -$tabs->server->pid;
    $tabs->server->stop;
    end_streams();
    seen_ok('error', 'the stream has ended');
    $tabs->publish(10);
    $tabs->server->start_again;
    $tabs->each_receives_ok(10, 'each tab has what was published meanwhile');
    ok wait_until($DEADLINE, sub { $tabs->streams == 1 }), 'there is one stream';
};

subtest 'the browser stops, as that of a laptop that sleeps' => sub {
    $tabs->browser->suspend;
    end_streams();
    $tabs->publish(500);
    $tabs->browser->continue;
    $tabs->each_receives_ok(10, 'each tab has what was published meanwhile');
};

subtest 'the hub process is killed' => sub {
    $tabs->kill_hub;
    $tabs->publish(20);
    my $last = $tabs->{published};
    my @new  = ('unknown', $last - 19 .. $last);
    for my $tab ($tabs->tabs) {
        $tab->wait_for("received.at(-1) === $last", "tab $tab->{name}: it has what the new process has");
        is_deeply $tab->evaluate('received.slice(received.indexOf("unknown"))'), \@new, 'after one gap';
    }
    $tabs->close_tabs;
};

subtest 'nginx answers 502' => sub {
    Testing::Nginx->require_or_skip_all;
    my $nginx = Testing::Nginx->start($tabs->server, 'documented');
    $tabs->open(site => $nginx) for 1, 2;
    my $other = event_source('http://127.0.0.1:' . $nginx->port . '/numbers');
    $tabs->server->stop;
    end_streams();
    seen_ok('error 502', 'the stream is refused');
    $other->wait_for('source.readyState === 2', 'EventSource has given up');
    $tabs->publish(10);
    $tabs->server->start_again;
    $tabs->each_has_all_ok('each tab has what was published meanwhile');
    $tabs->close_tabs;
};

subtest '429 with Retry-After' => sub {
    $tabs->set_busy(1);
    my @all   = map { $tabs->open(url => '/busy', waits => 1) } 1, 2;
    my $other = event_source($tabs->server->url('/busy'));
    seen_ok('error 429', 'the stream is refused');
    $other->wait_for('source.readyState === 2', 'EventSource has given up');
    $tabs->set_busy(0);
    seen_ok('open', 'the stream is open');
    $tabs->each_receives_ok(1, 'each tab has all events');
};

# Messages of an elected tab to the others: an event of which they lack the one before, and at once what it answered earlier.
my $LATE = <<'JS';
navigator.locks.query().then(({held}) => {
    const [, name, term] = /^(.*?)([0-9]+)$/.exec(held.find(({name}) => name.includes('{')).name);
    const channel = new BroadcastChannel(name);
    const [, before, next] = hub.hello.seed.entries.filter(({data}) => data);
    channel.postMessage({term: +term, entries: [{type: 'message', data: '0', id: 'late', prev: 'missing'}]});
    channel.postMessage({term: +term, welcome: {last: next.id}, asked: before.id, entries: [next], readyState: 1});
})
JS

subtest 'an answer is late' => sub {
    my $elected = Testing::Tabs->start($tabs->browser, page => {without => 'SharedWorker'});
    my @all     = map { $elected->open } 1, 2;
    $elected->publish(5);
    $elected->each_has_all_ok('each tab has each event');
    $all[1]->evaluate($LATE);
    $elected->publish(5);
    $elected->each_has_all_ok('each tab has each event once, in order');
};

done_testing;
