package Testing::CommandLine;
use Testing;

# Runs the program `eventsource` as a shell does, with a folder of its own for the sockets of hubs. Their processes end with the
# object.
#
#   my $shell = Testing::CommandLine->new;
#   my $done  = $shell->run('publish', '--hub', 'test', 'news', 'hello');    # {code => 0, out => "...-1\n", err => ''}
#   my $fed   = $shell->run(\"one\ntwo\n", 'publish', '--hub', 'test', '--lines', 'news');
#   my $tail  = $shell->start('tail', '--hub', 'test', 'news');              # a Testing::Program

use EventSource::Hub::Process;
use File::Temp   ();
use IPC::Open3   qw(open3);
use Scalar::Util qw(weaken);
use Testing::Program;
use Testing::SourceTree qw(slurp);

# The objects of this process. They end with the test, before the global destruction.
my %LIVE;

END {
    $_->_stop for grep { defined } values %LIVE;
}

# Skips the test if hubs have no process here.
sub import {
    return Testing->need('named_hubs');
}

# Connects to a hub in the folder, and starts it if need be.
sub connect {
    my ($self, $name, @settings) = @_;
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $self->folder;
    return EventSource::Hub::Process->connect(name => $name, autostart => 1, @settings);
}

sub folder { return $_[0]{folder}->dirname }

sub new {
    my $class = shift;
    my $self  = bless {folder => File::Temp->newdir, owner => $$}, $class;
    weaken($LIVE{$self} = $self);
    return $self;
}

sub run {
    my ($self, @arguments) = @_;
    my $input = ref $arguments[0] ? ${shift @arguments} : '';
    my ($in, $out, $err) = map { File::Temp->new } 1 .. 3;
    print {$in} $input;
    close $in;
    open my $from, '<', $in->filename or die "$in: $!\n";
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $self->folder;
    my $pid = open3('<&' . fileno $from, '>&' . fileno $out, '>&' . fileno $err, $^X, $self->_command(@arguments));
    waitpid $pid, 0;
    return {code => $? >> 8, out => _text($out), err => _text($err), $? & 127 ? (signal => $? & 127) : ()};
}

sub start {
    my ($self, @arguments) = @_;
    return Testing::Program->start([$self->_command(@arguments)], EVENTSOURCE_RUNTIME_DIR => $self->folder);
}

sub DESTROY { return $_[0]->_stop }

sub _command {
    my ($self, @arguments) = @_;
    return '-Mblib', 'bin/eventsource', @arguments;
}

# Stops the hub processes.
sub _stop {
    my $self = shift;
    return if $self->{owner} != $$ || !delete $LIVE{$self};
    local ($@, $!, $?);
    local $ENV{EVENTSOURCE_RUNTIME_DIR} = $self->folder;
    for my $name (EventSource::Hub::Process->names) {
        eval { EventSource::Hub::Process->connect(name => $name, autostart => 0, timeout => 5)->stop };
    }
    return;
}

sub _text {
    my $file = shift;
    return slurp($file->filename) =~ s/^Using .*blib\n//mr;
}

1;
