package EventSource::XS::Command::Tail::URL;
use strict;
use warnings;

# `eventsource tail URL`: prints the stream of any server, which EventSource::Client reads.

use EventSource::Client;
use EventSource::XS::Command;

my $COMMAND = 'EventSource::XS::Command';

# A signal may come just before the client begins to wait, so it never waits for long, in seconds.
my $LONGEST_WAIT = 0.5;

# Events that are printed together if more are there already.
my $AT_ONCE = 100;

sub new {
    my ($class, %self) = @_;
    return bless \%self, $class;
}

# Public methods

sub follow {
    my ($self,   $url,    @others)  = @_;
    my ($option, $output, $is_over) = @$self{qw(option output is_over)};
    $COMMAND->usage("a URL is followed alone, without '$others[0]'") if @others;
    my ($of_hub) = grep { defined $option->{$_} } qw(hub socket autostart channel last from-start from-state);
    $COMMAND->usage("--$of_hub is for hubs, not for a URL") if defined $of_hub;
    my $client = $self->_client($url);
    my $unsent = 0;

    while (!$is_over->()) {
        my $event = $client->next($unsent ? 0 : $LONGEST_WAIT);
        if ($event) {
            $output->event($event);
            $unsent++;
        }
        elsif ($client->state eq 'closed') {
            last;
        }
        next if $event && $unsent < $AT_ONCE;
        $output->flush;
        $unsent = 0;
    }
    $output->flush;
    return;
}

# Private methods

# A server that has never sent a stream is not asked again: the URL may be wrong.
sub _client {
    my ($self, $url) = @_;
    my $after    = $self->{option}{after};
    my $on_error = sub {
        my ($client, $error) = @_;
        return     if $client->state eq 'closed';
        die $error if !$self->{has_opened};
        $COMMAND->complain('tail', $COMMAND->message_of($error) . '; connecting again');
    };
    return EventSource::Client->new(
        url           => $url,
        headers       => ['User-Agent' => 'eventsource/' . $COMMAND->VERSION],
        last_event_id => defined $after ? $COMMAND->text('--after', $after) : undef,
        max_event     => $self->{max_event},
        on_bytes      => sub { $self->{output}->raw($_[1]) },
        on_error      => $on_error,
        on_open       => sub { $self->{has_opened} = 1 },
    );
}

1;
