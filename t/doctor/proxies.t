# The doctor behind a proxy that hinders responses in one way: it names that, and whether pages poll there.

use lib 't/lib';
use Testing;
use Testing::Doctor qw(is_fine is_wrong);
use Testing::Middlebox;
use Testing::Server;

# Commands that publish the probe, the second one after many other events: what is collected must not look like one burst.
my $PUBLISH =
    q{perl -MTesting::Client -e 'sub publish { Testing::Client->get($ENV{DOCTOR_PORT}, "/publish?@_")->read_until(qr/./) }};
my $PROBE = q{ publish($ENV{EVENTSOURCE_DOCTOR_PROBE})'};
my $MANY  = q{ for (1 .. 53) { publish("$_-" . "x" x 1000); select undef, undef, undef, 0.01 }};

my $POLLS = qr/A poll was answered after [0-9.]+ s: a page with eventsource-hub[.]js polls here/;
my $MAY   = qr/where streams do not pass, a page with eventsource-hub[.]js polls/;

# A mode with its options, the check, its verdict and sentence, what is said of polls, and arguments of the doctor.
my @CASES = (
    {
        mode     => ['hold'],
        check    => 'buffering',
        sentence => qr/not even the head[.] A poll.*until they end/,
        poll     => $POLLS
    },
    {
        mode      => ['hold'],
        check     => 'buffering',
        sentence  => qr/not even the head[.] A poll.*until they end/,
        poll      => qr/had the probe [0-9.]+ s after it was published: a page .* polls here/,
        arguments => ['--trigger', "$PUBLISH$PROBE"],
    },
    {
        mode     => ['hold', head => 1],
        check    => 'buffering',
        sentence => qr/and nothing of that came.*until they end/,
        poll     => $POLLS
    },
    {
        mode      => ['batch', bytes => 20_000, head => 1],
        check     => 'buffering',
        sentence  => qr/with [0-9]+ events that the stream has not sent.*until some 2[0-9]{4} bytes have come/,
        poll      => $POLLS,
        arguments => ['--seconds', 4, '--trigger', "$PUBLISH$MANY$PROBE"],
    },
    {
        mode     => ['cut', seconds => 1],
        check    => 'end',
        sentence => qr/cut after [01][.][0-9] s, as one that had begun later/,
        poll     => $MAY
    },
    {
        mode     => ['cut', seconds => 1, how => 'end'],
        check    => 'end',
        verdict  => 'warning',
        sentence => qr/as a whole after [01][.][0-9] s, as one that had begun later/,
        poll     => $MAY,
    },
    {mode => ['fail'], check => 'errors', sentence => qr/of [0-9]+ requests were answered with 502/, poll => $MAY},
    {
        mode      => ['silence', seconds => 2.5],
        check     => 'silence',
        sentence  => qr/each 0[.]5 s, as it says, and nothing came for [0-9.]+ s.*A new request was answered/,
        poll      => qr/eventsource-hub[.]js polls/,
        arguments => ['--seconds', 5],
    },
    {
        mode     => ['cache'],
        check    => 'cached',
        sentence => qr/that to another request[.] With a parameter in the URL.*the server itself has answered/,
    },
    {
        mode     => ['refuse'],
        check    => 'status',
        sentence => qr/501 instead of 200: the proxy middlebox refuses to pass.*RFC 10036/,
        poll     => $POLLS,
    },
    {mode => ['pass'], poll => $MAY},
);

# The streams of one server share a channel, which one of the cases fills.
my @servers =
    map { Testing::Server->start('Starman', 't/data/doctor.psgi', workers => 1, args => ['--disable-keepalive']) } 1, 2;
$_->ask('/publish?first') for @servers;

for my $case (@CASES) {
    my ($mode, @how) = @{$case->{mode}};
    my $server = $servers[$mode eq 'batch'];
    $case->{proxy}  = Testing::Middlebox->start($mode, $server->port, path => '/hub', @how);
    $case->{doctor} = Testing::Doctor->start(
        {DOCTOR_PORT => $server->port},
        '--seconds', 2.5,
        @{$case->{arguments} || []},
        $case->{proxy}->url('/hub')
    );
}
for my $case (@CASES) {
    my $name   = join ' ', @{$case->{mode}}, grep { /\A--trigger/ } @{$case->{arguments} || []};
    my $doctor = $case->{doctor};
    if ($case->{check}) {
        is_wrong($doctor, $case->{check}, $case->{verdict} || 'wrong', $case->{sentence}, $name);
        my @bad = map { $_->{check} } grep { $_->{verdict} ne 'ok' } @{$doctor->report->{findings}};
        is_deeply \@bad, [$case->{check}], "$name: nothing else is reported";
    }
    else {
        is_fine($doctor, $name);
    }
    my $poll = $doctor->finding('poll') || {};
    if ($case->{poll}) { like $poll->{sentence}, $case->{poll}, "$name: a poll" }
    else               { ok !$poll->{sentence}, "$name: nothing is said of polls" }
}

done_testing;
