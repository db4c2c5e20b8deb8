# What Datastar's test suite for SDKs asks a server for: each event of the signals, made by EventSource::Datastar.

use Testing::Application;
use EventSource::Datastar;
use Plack::App::EventSource;
use Plack::Builder;

my $datastar = 'EventSource::Datastar';

# The first argument of each method, and its options under the names that the suite gives them.
my %FIRST = (
    executeScript  => [execute_script  => 'script'],
    patchElements  => [patch_elements  => 'elements'],
    patchSignals   => [patch_signals   => 'signals-raw', 'signals'],
    removeElements => [remove_elements => 'selector'],
);
my %OPTION = (
    attributes        => 'attributes',
    autoRemove        => 'auto_remove',
    eventId           => 'id',
    mode              => 'mode',
    onlyIfMissing     => 'only_if_missing',
    retryDuration     => 'retry',
    selector          => 'selector',
    useViewTransition => 'use_view_transition',
);

sub event {
    my %given = %{shift()};
    my ($method, @names) = @{$FIRST{delete $given{type}}};
    my ($first) = grep { defined } delete @given{@names};
    return $datastar->$method($first, map { ($OPTION{$_} => $given{$_}) } keys %given);
}

my $stream = Plack::App::EventSource->new(
    line_end   => 'lf',
    methods    => [qw(GET POST)],
    handler_cb => sub {
        my ($connection, $env) = @_;
        $connection->push(event($_)) for @{$datastar->read_signals($env)->{events}};
        $connection->close;
    },
);

builder { mount '/test' => $stream->to_app };
