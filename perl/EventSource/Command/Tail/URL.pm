package EventSource::Command::Tail::URL;
use strict;
use warnings;

# `eventsource tail URL`: reads the stream of any server, and connects again as a browser does.

our $VERSION = '0.100';

use EventSource::Command;
use EventSource::Error;
use HTTP::Tiny  ();
use Time::HiRes qw(alarm sleep time);

my $COMMAND = 'EventSource::Command';

# The pause before the next attempt if the stream has set none, in seconds.
my $PAUSE = 1;

# For how long a server may send nothing, not even a keepalive, in seconds.
my $QUIET = 300;

sub new {
    my ($class, %self) = @_;
    return bless \%self, $class;
}

# Public methods

sub follow {
    my ($self,   $url,    @others) = @_;
    my ($option, $parser, $output) = @$self{qw(option parser output)};
    $COMMAND->usage("a URL is followed alone, without '$others[0]'") if @others;
    my ($of_hub) = grep { defined $option->{$_} } qw(hub socket spawn channel last from-start);
    $COMMAND->usage("--$of_hub is for hubs, not for a URL") if defined $of_hub;
    my $after   = $option->{after};
    my $is_over = 0;

    # HTTP::Tiny waits in read; only an exception ends that, which it makes a response.
    my $end = sub { $is_over = 1; die "over\n" };
    local @SIG{qw(INT TERM ALRM)} = ($end) x 3;
    alarm $option->{timeout} if $option->{timeout};
    my $http = HTTP::Tiny->new(agent => "eventsource/$VERSION", timeout => $QUIET, keep_alive => 0);

    while (!$is_over) {
        my $id = $parser->last_event_id;
        $id = $COMMAND->text('--after', $after) if !length $id && defined $after;
        utf8::encode($id);
        my %headers = (Accept => 'text/event-stream', 'Cache-Control' => 'no-store');
        $headers{'Last-Event-ID'} = $id if length $id;
        my ($closed, $has_opened);
        my $on_bytes = sub {
            my ($bytes, $response) = @_;
            eval { _check($response) if !$has_opened++; $self->_take($bytes); 1 } or do { $closed = $@; die "over\n" };
            if ($output->is_complete) { $is_over = 1; die "over\n" }
        };
        my $response = eval { $http->get($url, {headers => \%headers, data_callback => $on_bytes}) } || {status => 599};
        $self->{has_opened} ||= $has_opened;
        die $closed               if defined $closed;
        last                      if $is_over || $response->{status} == 204;
        $self->_refuse($response) if !$response->{success} && ($response->{status} != 599 || !$self->{has_opened});
        $parser->finish;
        $COMMAND->complain('tail', 'the stream has ended; connecting again');
        my $retry = $parser->retry;
        eval { sleep(defined $retry ? $retry / 1000 : $PAUSE) };
    }
    alarm 0;
    return;
}

# Private methods and functions

sub _check {
    my $response = shift;
    my $type     = $response->{headers}{'content-type'} || 'none';
    die "not an event stream: its type is $type\n" if $type !~ m{\Atext/event-stream\s*(?:;|\z)}i;
    return;
}

sub _refuse {
    my ($self, $response) = @_;
    my $is_status = $response->{status} != 599;
    my $text =
        $is_status ? "HTTP status $response->{status} $response->{reason}" : $response->{content} || 'no connection';
    $text =~ s/\n.*//s;
    EventSource::Error->throw(code => $is_status ? 'invalid' : 'unavailable', message => $text);
    return;
}

sub _take {
    my ($self, $bytes) = @_;
    $self->{output}->raw($bytes);
    $self->{output}->event($_) for $self->{parser}->feed($bytes);
    $self->{output}->flush;
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Command::Tail::URL - The command eventsource tail, for the stream of a server

=head1 SYNOPSIS

    use EventSource::Command::Tail::Output;
    use EventSource::Command::Tail::URL;
    use EventSource::Parser;

    my $output = EventSource::Command::Tail::Output->new({});
    my $source = EventSource::Command::Tail::URL->new(option => {}, parser => EventSource::Parser->new, output => $output);

=head1 METHODS

=head2 new

    my $source = EventSource::Command::Tail::URL->new(option => \%options, parser => $parser, output => $output);

Take the options of the command, an L<EventSource::Parser> and an L<EventSource::Command::Tail::Output>.

=head2 follow

    $source->follow($url);

Read the stream until the output is complete, the time of the option C<timeout> is over, or the process gets the signal
INT or TERM.

=head1 SEE ALSO

L<eventsource>

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
