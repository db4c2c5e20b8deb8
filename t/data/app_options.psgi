# Hubs of each kind, and for each option of to_app an application that replaces the attribute of its hub. A stream of an
# application follows the channel of the option's name.
#
#   /HUB/NATIVE/app/OPTION                          a stream; HUB is local, named or stored; NATIVE is native or writer
#   /HUB/NATIVE/serve/OPTION                    the same by serve, for the options that it has, too
#   /HUB/publish?channel=a&count=3&bytes=99     publishes so many events
#   /HUB/subscribers?channel=a                  how many streams follow a channel
#   /HUB/members?channel=a                      how many members a channel has
#   /HUB/end?label=l                            ends streams

use Testing::Application qw(answer answers);
use EventSource::Hub;
use Plack::App::EventSource;
use Plack::Builder;

my %ATTRIBUTE = (
    compress        => 0,
    headers         => ['X-Of' => 'hub'],
    keepalive       => 0,
    max_age         => 600,
    max_streams_per => [sub { return 'all' }, 1_000],
    position        => 'id',
    preamble        => undef,
    retry           => 60_000,
    start           => 'latest',
    timeout         => 60,
);

my $folder  = $ENV{OPTIONS_FOLDER};
my %PROCESS = (idle_exit => 1, grace => 1);
my %HUB     = (
    $ENV{OPTIONS_LOCAL} ? (local => EventSource::Hub->new(%ATTRIBUTE)) : (),
    named  => EventSource::Hub->new(%ATTRIBUTE, %PROCESS, name => 'named', socket => "$folder/named"),
    stored => EventSource::Hub->new(
        %ATTRIBUTE, %PROCESS,
        name   => 'stored',
        socket => "$folder/stored",
        store  => {file => "$folder/events.db"}
    ),
);

my %OPTION = (
    compress        => 1,
    headers         => ['X-Of' => 'application'],
    keepalive       => 0.2,
    label           => sub { return 'reader' },
    linger          => 1,
    max_age         => 0.3,
    max_streams_per => [sub { return 'few' }, 1],
    member          => sub { return {channel => "people$_[0]{REQUEST_URI}", id => 'ann'} },
    methods         => ['POST'],
    origins         => '*',
    position        => 'event',
    preamble        => 99,
    retry           => 7,
    start           => 'oldest',
    timeout         => 0.3,
);
my %NATIVE = (native => 'auto', writer => 0);

my @OF_SERVE = qw(label max_age member position retry start);

# A stream whose handler has the option.
sub serving {
    my ($hub, $native, $option, $value) = @_;
    my $handler = sub {
        my ($conn, $env) = @_;
        $hub->serve($conn, $option, {$option => ref $value eq 'CODE' ? $value->($env) : $value});
    };
    return Plack::App::EventSource->new(native => $native, line_end => 'lf', handler_cb => $handler)->to_app;
}

sub publish {
    my ($hub, %query) = @_;
    $hub->publish($query{channel}, "$_:" . '.' x ($query{bytes} || 0)) for 1 .. $query{count};
    return 'published';
}

builder {
    for my $kind (keys %HUB) {
        my $hub = $HUB{$kind};
        for my $option (keys %OPTION) {
            for my $native (keys %NATIVE) {
                my ($at, $value) = ("/$kind/$native", $OPTION{$option});
                mount "$at/app/$option" =>
                    $hub->to_app(channels => sub { return $option }, native => $NATIVE{$native}, $option => $value);
                mount "$at/serve/$option" => serving($hub, $NATIVE{$native}, $option, $value)
                    if grep { $_ eq $option } @OF_SERVE;
            }
        }
        mount "/$kind/native/app/max_streams" =>
            $hub->to_app(channels => sub { return 'max_streams' }, max_streams => 1)
            if $kind eq 'local';
        mount "/$kind/publish"     => answers(sub { publish($hub, @_) });
        mount "/$kind/subscribers" => answers(sub { my %query = @_; $hub->subscribers($query{channel}) });
        mount "/$kind/members"     => answers(sub { my %query = @_; $hub->members_count($query{channel}) });
        mount "/$kind/end"         => answers(sub { $hub->end(@_) });
    }
    mount '/' => sub { return answer('here') };
};
