# The systemd unit of EventSource::Services: systemd accepts it. Its command serves the application, drains, and ends in time
# when it is stopped.

use lib 't/lib';
use Testing    qw(Server=Starman);
use File::Spec ();
use JSON::PP   qw(decode_json);
use Test::EventSource;
use Testing::Daemon;
use Testing::Developer  qw(has_command);
use Testing::SourceTree qw(slurp);

my $UNIT = 'examples/deployment/eventsource.service';

my ($command) = slurp($UNIT) =~ /^ExecStart=(.+)$/m;
my @command   = split ' ', $command;

subtest 'systemd accepts the unit' => sub {
    plan skip_all => 'there is no systemd-analyze here' if !has_command('systemd-analyze');
    my $said = qx{systemd-analyze verify $UNIT 2>&1};
    is "$?: $said", '0: ', 'it is verified without a word';
};

# The service, as systemd would start it.
sub start {
    my $service = Testing::Daemon->new('starman');
    my @here    = @command;
    s/\A127[.]0[.]0[.]1:5000\z/'127.0.0.1:' . $service->port/e              for @here;
    s{\Aapp[.]psgi\z}{File::Spec->rel2abs('examples/deployment/app.psgi')}e for @here;
    my ($descriptors) = slurp($UNIT) =~ /^LimitNOFILE=([0-9]+)$/m;
    return $service->run({ADMIN_SECRET => 'of the test'}, 'sh', '-c', 'ulimit -Sn "$0"; exec "$@"', $descriptors,
        @here);
}

subtest 'the command serves, drains and stops' => sub {
    my $service = start();
    my $es      = Test::EventSource->new(url => 'http://127.0.0.1:' . $service->port, timeout => $DEADLINE);
    my @admin   = (headers => ['X-Admin-Secret' => 'of the test']);
    my @streams = map { $es->get('/events') } 1 .. 3;
    is $es->post('/publish', @admin)->code, 200, 'an administrator publishes';
    $_->like_event('hello', 'each stream receives the event') for @streams;
    my $stats = decode_json($es->request(GET => '/stats', @admin)->content);
    is $stats->{hub}{streams},              3,   'the counters count the streams of the hub';
    is $stats->{streams}{native},           3,   'all of them are native';
    is $es->post($_)->code,                 403, "$_ needs the secret" for '/publish', '/drain';
    is $es->request(GET => '/stats')->code, 403, 'and so do the counters';

    is $es->post('/drain', @admin)->code, 204, 'an administrator drains';
    $es->get('/events')->ends_ok;
    my $other = start();
    my $after = Test::EventSource->new(url => 'http://127.0.0.1:' . $other->port, timeout => $DEADLINE);
    my $late  = $after->get('/events');
    $after->wait_for(sub { $late->raw =~ m{^id: }m });    # it is subscribed
    kill TERM => $_->pid for $service, $other;
    ok wait_until($DEADLINE, sub { $_->has_ended }), 'the service stops when it is asked to' for $service, $other;
    $late->ends_ok;
    like + (split /\n\n/, $late->raw)[-1], qr/^retry: [0-9]+$/m,
        'the last thing that a client is sent is when to reconnect';
};

done_testing;
