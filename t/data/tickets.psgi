# Streams with tickets for a hub process that serves them by HTTP, too. /asked says
# how many requests for streams a worker was sent.

use Testing::Application qw(answer);
use EventSource::Hub;
use Plack::Builder;
use Plack::Request;

my $asked = 0;
my $hub   = EventSource::Hub->new(
    name      => 'shop',
    socket    => $ENV{HUB_SOCKET},
    position  => 'id',
    start     => 'oldest',
    autostart => 0,
);

my $streams = $hub->to_app(
    channels => sub {
        my $env    = shift;
        my ($user) = ($env->{HTTP_COOKIE} || '') =~ /(?:\A|; )session=([a-z]+)/;
        my @many   = $env->{QUERY_STRING} =~ /many=([0-9]+)/ ? map { sprintf 'channel-%092d', $_ } 1 .. $1 : ();
        return $user ? ('news', $user, @many) : [403, ['Content-Type' => 'text/plain'], ['log in']];
    },
    label  => sub { return $_[0]{HTTP_COOKIE} =~ /session=([a-z]+)/ ? "user/$1" : () },
    member => sub {
        return $_[0]{QUERY_STRING} =~ /room=([a-z]+)/ ? {channel => $1, id => 'ann', leave_after => 0} : ();
    },
    max_streams_per => [sub { return $_[0]{QUERY_STRING} =~ /limited/ ? 'one' : undef }, 1],
    methods         => ['GET',                                                           'POST'],
    origins         => 'https://shop.example',
    compress        => 1,
    retry           => [7000, 7000],
    keepalive       => 7,
    headers         => ['X-Shop' => 'yes'],
    ticket          => {seconds => 600, cookies => ['session'], headers => [qw(X-Device X-Forwarded-For)]},
);

builder {
    mount '/events' => sub { $asked++; return $streams->(@_) };
    mount '/asked'  => sub { return answer($asked) };
    mount '/echo'   => sub {
        my $request = Plack::Request->new(shift);
        return answer(join ' ', $request->method, $request->content);
    };
};
