# Tabs that share a stream: the script, a page that keeps what it receives (tabs.js), and a named hub.
#
#   GET /page?url=U       the page; without=SharedWorker,locks takes these from it; csp=1 forbids it what other sites serve
#                         dead=1 gives it a worker first that has ended; heard=1 keeps what a worker says
#   GET /blank            a page without scripts
#   GET /frame            a page of the site "localhost" in which the page is a frame of the site 127.0.0.1
#   GET /numbers          the stream of the channel "numbers"
#   GET /kept             that with a keepalive each second
#   GET /single           that of /kept, for one client at a time
#   GET /state            that of "numbers", "stock" and "people" with the state, for the member that the query names
#   GET /secret           that of /numbers, for pages of any port with a cookie
#   GET /public           that of /numbers, for all pages
#   GET /both             that of /numbers and of the channel "rare"
#   GET /prerender        a page that prerenders /page with the same query, and shows it when there is a "show" in localStorage
#   GET /worker.js        a worker of an application, which has a stream of its own
#   GET /busy             that of /numbers, but 429 while there is a file of the name in the environment variable BUSY
#   GET /hub.js?reader    the bundle that reads streams, but 502 while there is a file of the name in MISSING, which then has a
#                         byte for each time
#   GET /mine             that of /numbers and of the user whom the cookie names
#   GET /ping             an ordinary request
#
# The environment variable HUB has the settings of the hub as JSON; TRY_STREAM_EVERY the ms after which a page that polls tries
# a stream.

use Testing::Application;
use Testing::SourceTree qw(slurp);
use EventSource::Hub;
use JSON::PP qw(decode_json);
use Plack::Builder;
use Plack::Request;

my %PAGE = (
    blank   => '<!doctype html><title>Blank</title><link rel="icon" href="data:,">',
    module  => '<!doctype html><title>Tab</title><script type="module" src="/tabs.js"></script>',
    classic => '<!doctype html><title>Tab</title><script src="/classic.js"></script><script src="/tabs.js"></script>',
);
my $FRAME = <<'HTML';
<!doctype html>
<title>Frame</title>
<script>addEventListener('message', ({data}) => { window.received = data; });</script>
<iframe src="http://%s/page?url=/numbers"></iframe>
HTML
my $PRERENDER = <<'HTML';
<!doctype html>
<title>Prerender</title>
<script>
const url = `/page${location.search}`;
const rules = document.createElement('script');
rules.type = 'speculationrules';
rules.textContent = JSON.stringify({prerender: [{urls: [url], eagerness: 'immediate'}]});
document.head.append(rules);
addEventListener('storage', ({key}) => { if (key === 'show') location = url; });
</script>
HTML
my $POLICY = q{default-src 'none'; script-src 'self'; connect-src 'self'};

my $hub = EventSource::Hub->new(decode_json($ENV{HUB}));

sub answer {
    my ($type, $bytes, @headers) = @_;
    return [200, ['Content-Type' => $type, 'Content-Length' => length $bytes, @headers], [$bytes]];
}

sub file {
    my $bytes = slurp(shift);
    return sub { answer('text/javascript; charset=utf-8', $bytes) };
}

# A script that tries a stream more often, and whose bundle for that may be missing.
sub script {
    my $script = EventSource::Hub->script_app(@_);
    my $every  = $ENV{TRY_STREAM_EVERY};
    return sub {
        my $env = shift;
        if ($env->{QUERY_STRING} =~ /reader/ && open my $missing, '+<', $ENV{MISSING}) {
            seek $missing, 0, 2 and print {$missing} '.';
            return [502, ['Content-Type' => 'text/html'], ["<h1>Bad gateway</h1>\n"]];
        }
        return $script->($env) if !$every;
        my $response = $script->({%$env, HTTP_ACCEPT_ENCODING => 'identity'});
        return answer('text/javascript', $response->[2][0] =~ s/\b18e4\b/$every/r);
    };
}

sub page {
    my $query   = Plack::Request->new(shift)->query_parameters;
    my @headers = $query->{csp} ? ('Content-Security-Policy' => $POLICY) : ();
    return answer('text/html; charset=utf-8', $PAGE{$query->{classic} ? 'classic' : 'module'}, @headers);
}

sub numbers {
    return $hub->to_app(channels => sub { 'numbers' }, @_);
}

sub busy {
    my $stream = numbers();
    return sub {
        return $stream->(@_) if !-e $ENV{BUSY};
        return [429, ['Content-Type' => 'text/html', 'Retry-After' => 1], ["<h1>Busy</h1>\n"]];
    };
}

sub secret {
    return $hub->to_app(
        channels => sub { return ($_[0]{HTTP_COOKIE} // '') =~ /key=sesame/ ? 'numbers' : [403, [], []] },
        origins  => sub { $_[0]                             =~ m{\Ahttp://127[.]0[.]0[.]1:} },
    );
}

sub mine {
    my $user = sub { return Plack::Request->new(shift)->cookies->{user} };
    return $hub->to_app(channels => sub { ('numbers', 'user/' . $user->(shift)) }, label => $user);
}

sub state {
    return $hub->to_app(
        channels => sub { qw(numbers stock people) },
        member   => sub { return {id => Plack::Request->new(shift)->query_parameters->{member}, channel => 'people'} },
        start    => 'state',
    );
}

builder {
    mount '/page'       => \&page;
    mount '/blank'      => sub { answer('text/html', $PAGE{blank}) };
    mount '/frame'      => sub { answer('text/html', sprintf $FRAME, $_[0]{HTTP_HOST} =~ s/localhost/127.0.0.1/r) };
    mount '/prerender'  => sub { answer('text/html', $PRERENDER) };
    mount '/tabs.js'    => file('t/browser/tabs.js');
    mount '/worker.js'  => file('t/browser/worker.js');
    mount '/hub.js'     => script();
    mount '/classic.js' => script(classic => 1);
    mount '/numbers'    => numbers();
    mount '/kept'       => numbers(keepalive => 1);
    mount '/single'     => numbers(keepalive => 1, max_streams_per => [sub { 'all' }, 1]);
    mount '/public'     => numbers(origins   => '*');
    mount '/both'       => $hub->to_app(channels => sub { qw(numbers rare) });
    mount '/secret'     => secret();
    mount '/busy'       => busy();
    mount '/state'      => state();
    mount '/mine'       => mine();
    mount '/ping'       => sub { answer('text/plain', 'pong') };
};
