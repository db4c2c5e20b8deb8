# A browser opens six streams of an origin over HTTP/1.1, and the seventh waits. Over HTTP/2, behind nginx with the
# configuration of EventSource::Deployment, all are open.

use lib 't/lib';
use Testing            qw(Browser);
use JSON::MaybeXS      ();
use Testing::Developer qw(needs);
use Testing::Proxy;
use Testing::StreamServer qw(path);

my $COUNT   = 7;
my $browser = Testing::Browser->start;
my $server  = Testing::StreamServer->start('Starman');

# Opens the streams in a page of an origin.
sub open_all {
    my ($origin, $name) = @_;
    my $path = path('/held', keepalive => 0.3);
    $browser->open("$origin/stats");
    $browser->evaluate("window.all = [...Array($COUNT).keys()].map(at => new EventSource('$path&name=$name' + at)), 1");
    return;
}

my $OPEN = 'all.filter(source => source.readyState === 1)';

subtest 'HTTP/1.1' => sub {
    open_all('http://127.0.0.1:' . $server->port, 'plain');
    $browser->wait_for("$OPEN.length === $COUNT - 1", 'six streams are open');
    my $waiting = 'all.find(source => source.readyState === 0)';
    ok $browser->evaluate("!!(window.last = $waiting)"), 'the seventh waits';
    $browser->evaluate("$OPEN\[0].close()");
    $browser->wait_for('last.readyState === 1', 'it is open when another one has been closed');
    $browser->open('about:blank');
};

subtest 'HTTP/2' => sub {
    needs(Testing::Proxy->missing('nginx'));
    my $proxy = Testing::Proxy->start('nginx', $server);
    $browser->ask('Security.setIgnoreCertificateErrors', ignore => JSON::MaybeXS::true());
    open_all('https://127.0.0.1:' . $proxy->port, 'proxied');
    $browser->wait_for("$OPEN.length === $COUNT", 'all streams are open');
    $browser->open('about:blank');
};

done_testing;
