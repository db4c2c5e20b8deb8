# The end of a process waits for all hubs that do not answer at the same time.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use POSIX ();
use Testing::CommandLine;

my @NAMES = map { "hub$_" } 1 .. 10;
my $shell = Testing::CommandLine->new;
local $ENV{EVENTSOURCE_RUNTIME_DIR} = $shell->folder;

my %pid  = map { $_ => EventSource::Hub::Process->connect(name => $_, autostart => 1)->pid } @NAMES;
my $code = 'my @hubs = map { EventSource::Hub->new(name => $_, publish_timeout => 5) } @ARGV;'
    . '$_->epoch for @hubs; print "connected\n"; readline STDIN; $_->publish(news => "x", {wait => 0}) for @hubs';
pipe my $out, my $in or die "pipe: $!\n";
my $job = open my $said, '-|';
die "fork: $!\n" if !defined $job;
if (!$job) {
    close $in;
    open STDIN, '<&', $out or POSIX::_exit(1);
    exec $^X, '-Mblib', '-MEventSource::Hub', '-e', '$| = 1;' . $code, @NAMES or POSIX::_exit(1);
}
close $out;
is readline $said, "connected\n", 'a process has published to several hubs';
kill STOP => values %pid;
close $in;
ok wait_until($DEADLINE, sub { waitpid $job, POSIX::WNOHANG() }), 'it ends, though none of them answers any more';
kill KILL => $job, values %pid;

done_testing;
