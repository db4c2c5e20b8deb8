# The doctor and the streams of this distribution, without a proxy: nothing is wrong, and no warning is given.

use lib 't/lib';
use Testing;
use Testing::Doctor qw(is_fine is_wrong);
use Testing::Server;

# A command that publishes the doctor's token.
my $TRIGGER = q{perl -MTesting::Client -e 'Testing::Client->get($ENV{DOCTOR_PORT},}
    . q{"/publish?$ENV{EVENTSOURCE_DOCTOR_PROBE}")->read_until(qr/./)'};

for my $name (qw(Starman Twiggy)) {
    subtest $name => sub {
        my $server = Testing::Server->start($name, 't/data/doctor.psgi', workers => 1);
        my $url    = $server->url('/hub');
        my %env    = (DOCTOR_PORT => $server->port);
        my $quiet  = Testing::Doctor->start('--seconds', 2,           $url);
        my $probed = Testing::Doctor->start(\%env,       '--seconds', 2, '--trigger', $TRIGGER, $url);
        my $page   = Testing::Doctor->start('--seconds', 1,           '--origin', 'http://page.example', $url);
        is_fine($quiet,  'without a probe');
        is_fine($probed, 'with a probe');
        is_fine($page,   'for a page of another origin');
        like $probed->finding('buffering')->{sentence}, qr/The probe arrived/, 'the probe arrives';
        like $probed->finding('resume')->{sentence}, qr/receives what it has missed, once.*gap/,
            'the event that was published meanwhile is sent';
        like $quiet->finding('keepalive')->{sentence}, qr/keepalives: [1-9]/, 'keepalives are seen';
        is $page->finding('preflight')->{verdict}, 'ok', 'the preflight is answered';

        my $foreign = Testing::Doctor->start('--seconds', 1, '--origin', 'http://other.example', $url);
        is_wrong($foreign, 'origin', 'wrong', qr/may not read/, 'another origin');
        my $same = Testing::Doctor->start('--seconds', 1, $server->url('/same'));
        is_wrong($same, 'resume', 'wrong',   qr/once more/,                               'the id is ignored');
        is_wrong($same, 'end',    'warning', qr/the application has ended it|no framing/, 'the stream ends');
        is_wrong($same, 'cached', 'warning', qr/the same events/,                         'the stream repeats itself');
        my $unsent = Testing::Doctor->start('--seconds', 1, '--trigger', 'echo no way; exit 3', $url);
        is_wrong($unsent, 'buffering', 'warning', qr/could not be sent.*no way/, 'the trigger fails');
        my $unheard = Testing::Doctor->start('--seconds', 1, '--trigger', 'true', $url);
        is_wrong($unheard, 'buffering', 'wrong', qr/has not arrived/, 'the trigger causes no event');
    };
}

subtest 'four workers, each with a hub of its own' => sub {
    my $server = Testing::Server->start('Starman', 't/data/doctor.psgi', workers => 4);
    my $url    = $server->url('/hub');

    # The worker of the stream is seldom the one that publishes.
    my %env     = (DOCTOR_PORT => $server->port);
    my $missed  = Testing::Doctor->start(\%env, '--seconds', 1, '--trigger', $TRIGGER, $url);
    my $finding = is_wrong $missed, 'hub_name', 'wrong',
        qr/each worker has a hub of its own.*probe has not/,
        'a hub without a name';
    like $finding->{remedy}, qr/\AGive the hub a name/, 'the remedy is a name';
    my @bad = grep { $_->{verdict} eq 'wrong' } @{$missed->report->{findings}};
    is_deeply [map { $_->{check} } @bad],       ['hub_name'], 'nothing else is wrong';
    is_deeply [keys %{$bad[0]{configuration}}], [],           'and no proxy is to be mended';
};

subtest 'one worker that a stream occupies' => sub {
    my $server = Testing::Server->start('Starman',   't/data/doctor.psgi', workers => 1, env => {DOCTOR_NATIVE => 0});
    my $doctor = Testing::Doctor->start('--seconds', 1,                    $server->url('/hub'));
    is_wrong($doctor, 'second_client', 'wrong', qr/was not answered/, 'a second client');
};

done_testing;
