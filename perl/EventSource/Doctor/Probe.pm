package EventSource::Doctor::Probe;
use strict;
use warnings;

# Causes one event on the examined stream: by a command of the user, or by publishing to a hub that has a process of its
# own. The program of that process publishes, because it takes the settings of the hub as they are.

our $VERSION = '0.100';

use EventSource::XS ();
use File::Temp      ();
use POSIX           qw(WNOHANG);
use Time::HiRes     qw(sleep time);

my $WITHIN   = 30;                           # seconds that a command may take
my $LOOK     = 0.01;                         # seconds
my $PROGRAM  = 'eventsource-hub';
my $TYPE     = 'eventsource-doctor';
my $VARIABLE = 'EVENTSOURCE_DOCTOR_PROBE';

my $number = 0;

sub new {
    my ($class, %option) = @_;
    return bless {%option}, $class;
}

# Public methods

# Starts the command, and returns the token that the event may contain.
sub begin {
    my $self    = shift;
    my $token   = sprintf 'probe-%d-%d-%06d', $$, ++$number, rand 1_000_000;
    my @command = defined $self->{trigger} ? ('/bin/sh', '-c', $self->{trigger}) : $self->_publish($token);
    return $token if !@command;
    $self->{output} = File::Temp->new;
    local $ENV{$VARIABLE} = $token;
    defined($self->{pid} = fork) or return $self->_fail("fork: $!", $token);
    if (!$self->{pid}) {
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>',  $self->{output}->filename;
        open STDERR, '>&', \*STDOUT;
        exec {$command[0]} @command or print STDERR "$command[0]: $!\n";
        POSIX::_exit(127);
    }
    $self->{deadline} = time + $WITHIN;
    return $token;
}

# Ends a command that runs for too long.
sub finish {
    my $self = shift;
    kill TERM => $self->{pid} if $self->{pid} && !$self->has_ended;
    while ($self->{pid} && !$self->has_ended) { sleep $LOOK }
    return;
}

# True if the command has ended; then failure says whether that was well.
sub has_ended {
    my $self = shift;
    my $pid  = $self->{pid} or return !!1;
    if (waitpid($pid, WNOHANG) == $pid) {
        my $status = $?;
        delete $self->{pid};
        $self->_fail("the command ended with the status $status: " . $self->_printed) if $status;
        return !!1;
    }
    kill KILL => $pid if time > $self->{deadline};
    return !!0;
}

sub is_possible { return !!(defined $_[0]{trigger} || defined $_[0]{hub} && defined $_[0]{channel}) }

# The program of a hub's process, beside the native library; undef if it was not built.
sub program {
    for my $library (map { defined ? $_ : () } @DynaLoader::dl_shared_objects) {
        my $program = $library =~ s{[^/]+\z}{$PROGRAM}r;
        return $program if $library =~ m{/EventSource/XS/XS[.]} && -x $program;
    }
    return undef;
}

sub send_and_wait {
    my $self  = shift;
    my $token = $self->begin;
    while (!$self->has_ended) { sleep $LOOK }
    return $token;
}

# Private methods

sub _fail {
    my ($self, $why, @answer) = @_;
    $self->{failure} = $why;
    return $answer[0];
}

sub _printed {
    my $self = shift;
    open my $file, '<', $self->{output}->filename or return '';
    my $text = do { local $/ = undef; readline $file };
    return defined $text ? $text =~ s/\s+\z//r : '';
}

sub _publish {
    my ($self, $token) = @_;
    my $program = $self->program;
    if (!defined $program) {
        $self->_fail("the program $PROGRAM is not built here; use --trigger");
        return;
    }
    my @socket = defined $self->{socket} ? ('--socket', $self->{socket}) : ();
    return (
        $program, 'publish', '--no-start', '--name',         $self->{hub},
        @socket,  '--event', $TYPE,        $self->{channel}, $token
    );
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Doctor::Probe - Cause an event on the examined stream

=head1 SYNOPSIS

    use EventSource::Doctor::Probe;

    my $probe = EventSource::Doctor::Probe->new(trigger => 'true');
    $probe->send_and_wait;
    print $probe->{failure} || 'sent', "\n";

=head1 DESCRIPTION

The event of a hub has the type C<eventsource-doctor>, for which no page listens, and the token as data. A command finds the
token in the variable C<EVENTSOURCE_DOCTOR_PROBE>.

=head1 METHODS

=head2 new

    my $probe = EventSource::Doctor::Probe->new(trigger => $command);
    my $probe = EventSource::Doctor::Probe->new(hub => $name, channel => $channel, socket => $path);

Return a probe. C<socket> is needed only if the hub's is not in the folder of this user.

=head2 begin

Start the command. Return the token that marks the event. The key C<failure> of the object says what has failed.

=head2 finish

End the command if it still runs.

=head2 has_ended

Return true if the command does not run. It may run for 30 seconds.

=head2 is_possible

Return true if there is a command, or a hub and a channel.

=head2 program

Return the path of the program C<eventsource-hub>; C<undef> if it was not built.

=head2 send_and_wait

Start the command and wait for its end. Return the token.

=head1 SEE ALSO

L<EventSource::Doctor>, L<EventSource::Hub/name>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
