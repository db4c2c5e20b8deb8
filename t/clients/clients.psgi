# The application behind the tests of clients: streams of hubs and of handlers, paths that publish, and pages with the clients
# that run in a browser. CLIENTS_MODULES is the folder of npm's packages, CLIENTS_DATASTAR that of Datastar. With
# CLIENTS_COMPRESS the streams are compressed.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use EventSource::Datastar;
use EventSource::Hub;
use EventSource::XS;
use Plack::App::EventSource;
use Plack::App::File;
use Plack::Builder;
use Plack::Request;
use Testing::Clients::Cases qw(cases);
use Testing::SourceTree     qw(slurp);

my %CODED = (compress    => $ENV{CLIENTS_COMPRESS} ? 1 : 0);
my %STAYS = (per_process => 1, retry => 50, keepalive => 0.2, %CODED);

# The hub of most streams, two that evict early, and one whose streams begin with its history. Datastar passes on only
# events of its own types.
my %hub = (
    numbers => EventSource::Hub->new(%STAYS),
    gap     => EventSource::Hub->new(%STAYS, keep_history => {events => 3}),
    datagap => EventSource::Hub->new(
        %STAYS,
        keep_history => {events => 3},
        gap_event    => 'datastar-patch-signals',
        gap_data     => 'signals {"gap": true}'
    ),
    data => EventSource::Hub->new(%STAYS, start => 'oldest'),
);

sub app {
    return $hub{$_[0]}->to_app(channels => sub { Plack::Request->new($_[0])->query_parameters->{channel} });
}

my $numbers = app('numbers');

sub text {
    my ($type, $text) = @_;
    return [
        200, ['Content-Type' => "$type; charset=utf-8", 'Content-Length' => length $text, 'Connection' => 'close'],
        [$text]
    ];
}

sub answer {
    my $code = shift;
    return sub {
        EventSource::XS->dispatch;
        return text('text/plain', $code->(%{Plack::Request->new($_[0])->query_parameters}));
    };
}

# Datastar passes on only events of its own.
sub datastar { return EventSource::Datastar->patch_signals({sent => shift}) }

sub number {
    my ($query, $number) = @_;
    my $data = "number $number " . 'x' x (50 + $number % 7);
    return $query->{form} eq 'datastar' ? datastar($data) : {data => $data};
}

# A stream of a reconnection time, and three events with comments after their ids, that the application ends for good. A client
# that comes back is told so with 204.
my $ending = Plack::App::EventSource->new(
    %CODED,
    retry      => 50,
    handler_cb => sub {
        my ($conn, $env) = @_;
        my %query = %{Plack::Request->new($env)->query_parameters};
        for my $number (1 .. 3) {
            $conn->push({%{number(\%query, $number)}, id => $number});
            $conn->push({comment                         => 'no event'});
        }
        $conn->finish;
    },
)->to_app;

# The first request for each channel is refused, as by max_streams_per.
my %is_refused;
my $refusing = sub {
    my $env = shift;
    return $numbers->($env) if $is_refused{$env->{QUERY_STRING}}++;
    return [429, ['Content-Type' => 'text/plain', 'Retry-After' => 1], ['too many streams']];
};

builder {
    mount "/stream/$_"      => app($_) for keys %hub;
    mount '/stream/refused' => $refusing;
    mount '/stream/end'     => $ending;
    mount '/publish'        => answer sub {
        my %query = @_;
        $hub{$query{hub}}->publish($query{channel} => number(\%query, $_)) for $query{from} .. $query{to};
        return 'published';
    };
    mount '/cases' => answer sub {
        my %query = @_;
        for my $case (cases()) {
            my $event = $case->[1];
            $event = datastar($event->{data}) if $query{form} eq 'datastar';
            $hub{data}->publish($query{channel} => $event);
        }
        return 'published';
    };
    mount '/subscribers' => answer(sub { my %query = @_; return $hub{$query{hub}}->subscribers($query{channel}) });
    mount '/page'        => sub { return text('text/html',       slurp('t/clients/browser.html')) };
    mount '/parent'      => sub { return text('text/html',       slurp('t/clients/parent.html')) };
    mount '/browser.js'  => sub { return text('text/javascript', slurp('t/clients/browser.mjs')) };
    mount '/datastar'    => Plack::App::File->new(root => $ENV{CLIENTS_DATASTAR})->to_app;
    mount '/modules'     => sub {
        my $path = $_[0]{PATH_INFO};
        $path .= '.js' if $path !~ /[.]js\z/;    # the packages import their own files without it
        return $path =~ m{/[.][.]/} ? [404, [], []] : text('text/javascript', slurp("$ENV{CLIENTS_MODULES}$path"));
    };
};
