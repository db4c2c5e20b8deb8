package Testing::DoctorCases;
use Testing;

# A proxy that is configured wrongly: the doctor names the mistake and the remedy, and finds nothing wrong after the remedy
# was applied: the lines that it has printed.
#
#   mistakes_ok('nginx', {name => ..., lines => [...], check => 'timeout', verdict => 'wrong', sentence => qr/.../});
#   mistakes_ok('nginx', mistake(timeout => 'proxy_read_timeout 500ms;'));    # one that other proxies can have, too
#
# A case with the verdict ok is not a mistake: nothing is wrong, and nothing has to be mended.
#
# A case may also have: path, by default /hub; arguments, of the doctor; except, checks that are not ok even then; is_alone, if
# nothing else may be reported; then, another mistake (check, verdict, sentence) that shows when this one is mended.

use Exporter qw(import);
use Testing::ConfiguredProxy;
use Testing::Developer qw(needs);
use Testing::Doctor    qw(is_fine is_wrong);
use Testing::Server;

our @EXPORT_OK = qw(mistake mistakes_ok);

my $SECONDS = 2;

# What the doctor says of mistakes that each proxy can have, by its check: the name of the case, the verdict and the sentence.
my %MISTAKE = (
    compression   => ['compression',              ok      => qr/compressed \(gzip\), and nothing is withheld/],
    framing       => ['no chunks',                warning => qr/not chunked/],
    last_event_id => ['Last-Event-ID is removed', wrong   => qr/a proxy removes the header/],
    origin        => ['no CORS',                  wrong   => qr/no Access-Control-Allow-Origin/],
    timeout       => ['a timeout that is shorter than the keepalive', wrong => qr/cut after [0-9.]+ s of silence/],
    type          =>
        ['another Content-Type', wrong => qr{text/(?:html instead of .+ a page|plain instead of text/event-stream)}],
);
my %MORE = (
    origin  => [arguments => ['--origin', 'http://page.example']],
    timeout => [path      => '/hub?keepalive=30'],
);

# A case of such a mistake, which the lines make.
sub mistake {
    my ($check, @lines) = @_;
    my ($name, $verdict, $sentence) = @{$MISTAKE{$check}};
    my %case = (name => $name, check => $check, verdict => $verdict, sentence => $sentence, lines => \@lines);
    return {%case, @{$MORE{$check} || []}};
}

sub mistakes_ok {
    my ($name, @cases) = @_;
    needs(Testing::ConfiguredProxy->missing($name));
    my @args   = ('--disable-keepalive');    # the only worker would wait on each idle connection of the proxy
    my $server = Testing::Server->start('Starman', 't/data/doctor.psgi', workers => 1, args => \@args);
    _publish($server);
    my $good = _run($name, $server, {});
    my @runs = map { _run($name, $server, $_) } @cases;
    is_fine($good->{doctor}, "$name without a mistake");
    my @mended = map { _judge($name, $server, $_) } @runs;
    _judge_mended($_->{doctor}, $_->{case}) for @mended;
    return;
}

# Checks what a run has found. Starts one with the remedy.
sub _judge {
    my ($name, $server, $run) = @_;
    my $case = $run->{case};
    if ($case->{verdict} eq 'ok') {
        is_fine($run->{doctor}, $case->{name});
        like $run->{doctor}->finding($case->{check})->{sentence}, $case->{sentence}, "$case->{name}: the sentence";
        return ();
    }
    my $finding = is_wrong($run->{doctor}, @$case{qw(check verdict sentence name)});
    my $silent  = $finding->{measured}{silent};
    cmp_ok $run->{doctor}->finding('keepalive')->{measured}{longest_silence}, '>=', $silent,
        "$case->{name}: the longest silence is not shorter than the one at the end"
        if defined $silent;
    my $lines = $finding->{configuration}{$name};
    my @bad   = map { $_->{check} } grep { $_->{verdict} ne 'ok' } @{$run->{doctor}->report->{findings}};
    is_deeply \@bad, [$case->{check}], "$case->{name}: nothing else is reported" if $case->{is_alone};
    ok $lines, "$case->{name}: the remedy has lines for $name";
    my %mended = (%$case, lines => [Testing::ConfiguredProxy->mended($case->{lines}, $lines || [])]);
    return _run($name, $server, \%mended);
}

sub _judge_mended {
    my ($doctor, $case) = @_;
    my $name = "$case->{name}, mended";
    return is_wrong($doctor, @{$case->{then}}, $name) if $case->{then};
    return is_fine($doctor, $name, @{$case->{except} || []});
}

sub _publish {
    my $server = shift;
    return $server->ask('/publish?first');
}

sub _run {
    my ($name, $server, $case) = @_;
    my $proxy  = Testing::ConfiguredProxy->start($name, $server, @{$case->{lines} || []});
    my $url    = $proxy->url($case->{path} || '/hub');
    my @given  = @{$case->{arguments}      || []};
    my $doctor = Testing::Doctor->start({DOCTOR_PORT => $server->port}, '--seconds', $SECONDS, @given, $url);
    return {case => $case, proxy => $proxy, doctor => $doctor};
}

1;
