# The application of t/servers/chunks.t.
#
#   GET /pushes    three events, then the end
#   GET /empties   a push of nothing between two events, then the end
#   GET /dies      an event, then the handler dies
#   GET /length    a stream whose application sets Content-Length
#   GET /held      an event; the stream is held
#   GET /hub       the streams of a hub
#   GET /exit      ends the process
#   GET /publish   publishes an event, and closes the hub's streams if the query is "end"

use Testing::Application qw(answer);
use EventSource::Hub;
use Plack::App::EventSource;

my $hub = EventSource::Hub->new(per_process => 1, keepalive => 0);
our @held;    # a lexical would be freed before END blocks run

sub app { return Plack::App::EventSource->new(retry => [1_000, 1_000], native => 1, handler_cb => shift, @_)->to_app }

sub push_all {
    my ($conn, @events) = @_;
    $conn->push($_) for @events;
    return;
}

my %app = (
    '/pushes'  => app(sub { push_all($_[0], 'one', 'x' x 70_000, 'three'); $_[0]->close }),
    '/empties' => app(sub { push_all($_[0], 'one'); $_[0]->push({data => ''}); push_all($_[0], 'two'); $_[0]->close }),
    '/dies'    => app(sub { push_all($_[0], 'one'); die "on purpose\n" }),
    '/length'  => app(sub { push_all($_[0], 'one'); $_[0]->close }, headers => ['Content-Length' => 1_000]),
    '/held'    => app(sub { push_all($_[0], 'one'); push @held, $_[0] }),
    '/hub'     => $hub->to_app(channels => sub { 'news' }, native => 1),
    '/exit'    => sub { exit 0 },
    '/publish' => sub {
        my $env = shift;
        $hub->publish(news => 'published');
        $hub->drain(0.1) if $env->{QUERY_STRING} eq 'end';
        return answer('ok');
    },
);

sub { my $env = shift; return $app{$env->{PATH_INFO}}->($env) };
