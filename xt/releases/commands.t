# Commands of one release and a hub process of another one, which speak different protocols and save different states: commands
# are refused and say what to do, and so is an upgrade; a later release ends the process of an earlier one.

use lib 't/lib';
use Testing;
use File::Temp        ();
use Testing::Deadline qw($DEADLINE wait_until);
use Testing::Process  qw(hubs_at is_running);
use Testing::Program;
use Testing::Release;

my ($old, $new) = Testing::Release->both_or_skip_all;

my ($OK, $FAILED, $NONE, $REFUSED) = (0, 1, 3, 5);

# The output and status of a command of another release.
my @REFUSED = (
    [$REFUSED, qw(publish --hub shop news hello)],
    [$REFUSED, qw(forget --hub shop news key)],
    [$REFUSED, qw(tail --hub shop --last 1 --count 1 news)],
    [$REFUSED, qw(stats --hub shop)],
    [$REFUSED, qw(channels --hub shop)],
    [$REFUSED, qw(members --hub shop people)],
    [$REFUSED, qw(end --hub shop --label user/7)],
    [$REFUSED, qw(hub drain shop --within 1)],
    [$REFUSED, qw(hub start shop)],
    [$FAILED,  qw(hub check shop)],
    [$OK,      qw(hub list)],
);

# Each with the remedy, and what `hub stop` of the other release returns.
my @CASES = (
    {what => 'an old process', of => $old, by => $new, remedy => 'eventsource hub upgrade NAME', done => $OK},
    {what => 'a new process',  of => $new, by => $old, remedy => 'restart the worker',           done => $REFUSED},
);

my $NAMES = 'use EventSource::Hub; EventSource::Hub->new(name => "shop", gap_event => "hole")->publish(news => "job")';

sub pid_of { my @hubs = hubs_at("$_[0]{EVENTSOURCE_RUNTIME_DIR}/shop.sock"); return "@hubs" }

sub gap_event {
    my ($release, $env) = @_;
    my $code = 'use EventSource::Hub::Process; print EventSource::Hub::Process->connect(name => "shop")->gap_event';
    return $release->perl($env, $code)->{out};
}

for my $case (@CASES) {
    my ($of, $by) = @$case{qw(of by)};
    my $folder = File::Temp->newdir;
    my $env    = {EVENTSOURCE_RUNTIME_DIR => "$folder"};
    subtest "$case->{what} refuses what only it could do" => sub {
        is $of->run($env, qw(hub start shop))->{code}, $OK, 'it is started';
        for (@REFUSED) {
            my ($code, @command) = @$_;
            my $done = $by->run($env, @command);
            is_deeply [@$done{qw(code out)}], [$code, ''], "@command: the exit code";
            like $done->{err}, qr/this hub process speaks version \d+ .* the worker version \d+: .*\Q$case->{remedy}\E/,
                "@command: the remedy";
        }
    };
    subtest "$case->{what} is ended by hub stop, or not" => sub {
        my $pid  = pid_of($env);
        my $done = $by->run($env, qw(hub stop shop));
        is $done->{code}, $case->{done}, 'the exit code' or diag $done->{err};
        if ($case->{done} == $OK) {
            ok wait_until($DEADLINE, sub { !is_running($pid) }), 'it ends';
            is_deeply [grep { !/[.](?:lock|log)\z/ } glob "$folder/*"], [], 'and has forgotten its settings';
        }
        else {
            like $done->{err}, qr/\Q$case->{remedy}\E/, 'the remedy';
            is $of->run($env, qw(hub stop shop))->{code}, $OK, 'a command of its own release ends it';
        }
    };
    subtest "$case->{what} does not continue as the other program" => sub {
        is $of->run($env, qw(hub start shop))->{code}, $OK, 'it is started';
        my $pid  = pid_of($env);
        my $done = $by->run($env, qw(hub upgrade shop));
        is $done->{code}, $REFUSED, 'the exit code';
        like $done->{err}, qr/reads states of version/, 'the reason';
        is $of->run($env, qw(publish --hub shop news x))->{code}, $OK,  'a command of its own release publishes';
        is pid_of($env),                                          $pid, 'to the same process';
        is $of->run($env, qw(hub stop shop))->{code},             $OK,  'and ends it';
    };
    subtest "settings that $case->{what} has left are lost for the other release until a worker names them" => sub {
        is $of->perl($env, $NAMES)->{code}, $OK, 'a job names a setting';
        my $pid = pid_of($env);
        kill TERM => $pid;
        ok wait_until($DEADLINE, sub { !is_running($pid) }), 'the process ends';
        my $done = $by->run($env, qw(publish --hub shop --timeout 0.1 news x));
        is $done->{code}, $NONE, 'a command of the other release starts none';
        like $done->{err}, qr/has no settings for it/, 'and says why';
        my $run = Testing::Program->new('run')
            ->run($by->env(%$env), $by->program, qw(run --name shop --socket), "$folder/shop.sock");
        ok wait_until($DEADLINE, sub { pid_of($env) }), 'a process without a worker';
        my $says = qr/the settings in \S+ are not used: they are of another version/;
        ok wait_until($DEADLINE, sub { $run->log =~ $says }), 'says so, too' or diag $run->log;
        is $by->perl($env, $NAMES)->{code}, $OK,    'a job names the setting again';
        is gap_event($by, $env),            'hole', 'it counts';
        $by->run($env, qw(hub stop shop));
        $run->stop;
    };
}

done_testing;
