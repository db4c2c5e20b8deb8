# Pushpin's origin in bench/storm: as its documentation has it for reliable streams. It keeps the events, sends a client those
# that it has missed, and names the last one (prev-id), so that Pushpin asks for others that come before it holds the stream.
#
#   GET  /events   a stream
#   POST /say      publishes an event whose data is the body, by the HTTP port of Pushpin that PUSHPIN_CONTROL names
#
# BENCH_ASKED is a file that gets a byte with each request for a stream.

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP qw(encode_json);

my $http = HTTP::Tiny->new(timeout => 5);
my @events;

sub content {
    my $id = shift;
    return "id: $id\ndata: $events[$id - 1]\n\n";
}

sub stream {
    my $env = shift;
    open my $asked, '>>', $ENV{BENCH_ASKED} or die "$ENV{BENCH_ASKED}: $!\n";
    syswrite $asked, '.';

    # What Pushpin itself has sent last counts, then its link, then the client's id.
    my ($after) = map { defined && /([0-9]+)\z/ ? $1 : () } @$env{qw(HTTP_GRIP_LAST QUERY_STRING HTTP_LAST_EVENT_ID)};
    my $last    = @events;
    my $missed  = defined $after && $after < $last ? join('', map { content($_) } $after + 1 .. $last) : '';
    return [
        200,
        [
            'Content-Type'    => 'text/event-stream',
            'Grip-Hold'       => 'stream',
            'Grip-Channel'    => "all; prev-id=$last",
            'Grip-Link'       => "</events?after=$last>; rel=next",
            'Grip-Keep-Alive' => ':\n\n; format=cstring; timeout=15',
        ],
        [length $missed ? $missed : ":\n\n"]
    ];
}

sub say {
    my $env = shift;
    read $env->{'psgi.input'}, my $data, $env->{CONTENT_LENGTH};
    push @events, $data;
    my $id       = @events;
    my $formats  = {'http-stream' => {content => content($id)}};
    my $items    = [{channel => 'all', id => "$id", 'prev-id' => '' . ($id - 1), formats => $formats}];
    my $url      = "http://127.0.0.1:$ENV{PUSHPIN_CONTROL}/publish/";
    my $response = $http->post($url, {content => encode_json({items => $items})});
    return [$response->{success} ? 200 : 503, ['Content-Length' => 0], []];
}

sub { $_[0]{REQUEST_METHOD} eq 'POST' ? say($_[0]) : stream($_[0]) };
