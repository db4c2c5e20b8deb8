# A hub of another user is found by nobody else: a command says so, and as whom to run it. Needs root, who sees the folders of
# all.

use lib 't/lib';
use Testing;
use Testing::CommandLine;
use File::Copy qw(copy);
use File::Temp ();
use POSIX      ();

plan skip_all => 'only root sees the folders of all users' if $> != 0;
my ($user, undef, $uid, $gid) = getpwnam 'nobody' or plan skip_all => 'there is no user nobody';
delete @ENV{qw(EVENTSOURCE_RUNTIME_DIR XDG_RUNTIME_DIR)};

my $name    = "theirs$$";
my $folder  = File::Temp->newdir;
my $program = "$folder/eventsource-hub";
chmod 0755, $folder->dirname;
copy(EventSource::Hub::Process->program, $program) or die "$program: $!\n";
chmod 0755, $program;

my $shell = Testing::CommandLine->new;
my @own   = EventSource::Hub::Process->_call('folders');

sub run_command {
    my @arguments = @_;
    local $ENV{EVENTSOURCE_RUNTIME_DIR};
    my $err = File::Temp->new;
    open my $old, '>&', \*STDERR       or die "stderr: $!\n";
    open STDERR,  '>',  $err->filename or die "stderr: $!\n";
    open my $out, '-|', $^X, '-Mblib', 'bin/eventsource', @arguments or die "perl: $!\n";
    my $text = do { local $/; readline $out };
    close $out;
    my $code = $? >> 8;
    open STDERR, '>&', $old           or die "stderr: $!\n";
    open my $in, '<',  $err->filename or die "$err: $!\n";
    return {code => $code, out => defined $text ? $text : '', err => join '', grep { !/^Using / } readline $in};
}

my $pid = fork;
die "fork: $!\n" if !defined $pid;
if (!$pid) {
    POSIX::setgid($gid);
    $) = "$gid $gid";
    POSIX::setuid($uid);
    chdir '/';
    exec {$program} $program, 'run', '--name', $name or POSIX::_exit(1);
}

my $sees = sub { return run_command(qw(publish --timeout 0.1 --hub), $name, 'news', 'x') };
my $done;
ok wait_until($DEADLINE, sub { $done = $sees->(); $done->{err} =~ /does for/ }), 'the hub of the other user is seen'
    or diag $done->{err};
is $done->{code}, 3,  'exit code 3';
is $done->{out},  '', 'no id';
like $done->{err}, qr/\Aeventsource publish: no process serves the hub $name for this user, but one does for $user: /,
    'it says whose it is';
like $done->{err}, qr/\(sudo -u $user eventsource/, 'and as whom to ask';

for my $command (['stats'], ['tail', '--count', 1], ['channels']) {
    my ($verb, @rest) = @$command;
    my $other = run_command($verb, @rest, '--timeout', '0.1', '--hub', $name);
    like $other->{err}, qr/but one does for $user/, "$verb says so, too";
}
ok !(grep { -e "$_/$name.sock" } @own), 'no process of this user was started';

run_command(qw(publish --autostart --hub), $name, 'news', 'x');
eventually_ok $DEADLINE,
    'the log of a hub that root starts says whose hub has this name',
    sub { run_command(qw(hub log), $name)->{out} =~ /hub_unread others="$name of $user"/ };
run_command(qw(hub stop), $name);

kill TERM => $pid;
waitpid $pid, 0;
my $gone = $sees->();
like $gone->{err}, qr/this user has no settings for it/, 'without their process there is none';
my @theirs = ("/run/user/$uid/eventsource", "/run/eventsource/$uid", "/tmp/eventsource-$uid");
unlink map { glob "$_/$name.sock*" } @own, @theirs;

done_testing;
