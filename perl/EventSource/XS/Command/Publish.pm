package EventSource::XS::Command::Publish;
use strict;
use warnings;

# `eventsource publish`: publishes events from arguments or standard input, and prints their ids. With lines it outlives the hub
# process: it waits for the next one.

use EventSource::XS::Command;
use EventSource::XS::JSONText;
use EventSource::XS::Reason;
use JSON::MaybeXS ();

my $COMMAND = 'EventSource::XS::Command';
my $JSON    = JSON::MaybeXS->new(utf8 => 1, allow_nonref => 1);

my @OPTIONS = qw(
    hub=s socket=s autostart! timeout=f event=s id=s key=s once=s retain retry=i json lines json-lines no-wait quiet|q objects
    show-channel=s
);

# The fields of a line of --json-lines.
my %IS_FIELD = map { $_ => 1 } qw(channel data event id json key once retain retry);

# The amount of the input that is read at once. Its events are published together.
my $READ_BYTES = 65_536;

my $FIRST_PAUSE = 0.05;    # seconds until the first attempt to connect again

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('publish', \@arguments, @OPTIONS);
    my $self   = bless {option => $option, code => 0, begun => []}, $class;
    $self->_check_arguments(\@arguments);
    $self->{hub} = $COMMAND->connect($option);
    my @events = $self->{is_lines} ? () : map { $self->_event($_ eq '-' ? _whole_input() : $_, 'the data') } @arguments;
    my $is_begun = eval { $self->_publish($_) for @events; 1 };
    my $error    = $@;
    $self->_publish_lines if $self->{is_lines};
    $self->_collect;
    die $error if !$is_begun;                                                   # after those before it are answered
    return $self->{code} == 3 && $self->{has_published} ? 4 : $self->{code};    # 3 says that nothing was done
}

# Takes the channel off the arguments.
sub _check_arguments {
    my ($self, $arguments) = @_;
    my $option   = $self->{option};
    my $is_lines = $self->{is_lines} = $option->{'json-lines'} || $option->{lines};
    $COMMAND->usage('--lines or --json-lines, not both') if $option->{'json-lines'} && $option->{lines};
    $COMMAND->usage('which channel?')                    if !@$arguments            && !$option->{'json-lines'};
    $self->{channel} = $COMMAND->text('the channel', shift @$arguments) if @$arguments;
    $COMMAND->usage("with --lines and --json-lines the data comes from the standard input, not from '$arguments->[0]'")
        if $is_lines && "@$arguments" !~ /\A-?\z/;
    $COMMAND->usage('no data: give it as an argument, or - for the standard input') if !$is_lines && !@$arguments;

    for my $name (grep { defined $option->{$_} } qw(id once)) {
        $COMMAND->usage("--$name is for one event") if $is_lines || @$arguments > 1;
    }
    if ($option->{'json-lines'}) {
        my ($given) = grep { defined $option->{$_} } qw(event json key retain retry);
        $COMMAND->usage("--$given has no meaning with --json-lines: each line has its own fields") if $given;
    }
    $COMMAND->require_input if $is_lines || grep { $_ eq '-' } @$arguments;
    $COMMAND->usage('--retain needs --key KEY: the event replaces the one with its key')
        if $option->{retain} && !length($option->{key} // '');
    $option->{$_} = $COMMAND->text("--$_", $option->{$_}) for grep { defined $option->{$_} } qw(event id key once);
    return;
}

sub _event {
    my ($self, $bytes, $what) = @_;
    my $option = $self->{option};
    my $data   = $COMMAND->text($what, $bytes);
    my $at     = $option->{json} ? EventSource::XS::JSONText->mistake_at($bytes) : undef;
    $COMMAND->usage("$what is not JSON after $at bytes") if defined $at;
    my $is_part = $option->{json} && ($self->{hub}->show_channel || '') eq 'data';  # of the JSON that shows the channel
    my %event   = map { defined $option->{$_} ? ($_ => $option->{$_}) : () } qw(event id key once retain retry);
    return {
        %event,
        channel => $self->{channel},
        $is_part ? (json => EventSource::XS::JSONText->new($data)) : (data => $data)
    };
}

sub _whole_input {
    my $bytes = '';
    1 while _read_input(\$bytes);
    return $bytes;
}

# Appends the next bytes of the input. Returns 0 at its end.
sub _read_input {
    my $bytes = shift;
    while (1) {
        my $count = sysread STDIN, $$bytes, $READ_BYTES, length $$bytes;
        return $count                              if defined $count;
        die "cannot read the standard input: $!\n" if !$!{EINTR};
    }
    return;
}

# A line that is wrong is reported, and the next one is taken. What has been read is published before the input is waited for.
sub _publish_lines {
    my $self = shift;
    my ($rest, $number) = ('', 0);
    while (1) {
        my $count = _read_input(\$rest);
        $rest .= "\n" if !$count && length $rest;
        my $whole = rindex($rest, "\n") + 1;
        for my $line (split /(?<=\n)/, substr $rest, 0, $whole, '') {
            $self->_publish_line($line =~ s/\r?\n\z//r, ++$number);
        }
        $self->_collect;
        last if !$count;
    }
    return;
}

sub _publish_line {
    my ($self, $line, $number) = @_;
    return if $self->{option}{'json-lines'} && $line =~ /\A\s*\z/;
    my $event = eval {
        $self->{option}{'json-lines'} ? $self->_event_of_json($line, $number) : $self->_event($line, 'the line');
    };
    if ($event && eval { $self->_publish({%$event, line => $number}); 1 }) {
        $self->_warn_of_no_data($number) if !grep { exists $event->{$_} } qw(data json);
        return;
    }
    my $code = $COMMAND->exit_code($@);
    die $@ if $code != 2 && $code != 5;
    $self->_report($code, "line $number: " . $COMMAND->message_of($@));
    return;
}

sub _event_of_json {
    my ($self, $line, $number) = @_;
    my $event = eval { $JSON->decode($line) };
    $COMMAND->usage('not JSON: ' . EventSource::XS::Reason->of($@))                 if !defined $event && $@;
    $COMMAND->usage('not a JSON object, such as {"channel":"news","data":"hello"}') if ref $event ne 'HASH';
    my ($unknown) = grep { !$IS_FIELD{$_} } sort keys %$event;
    $COMMAND->usage("unknown field '$unknown' (known: " . join(', ', sort keys %IS_FIELD) . ')') if defined $unknown;
    delete $event->{$_} for grep { $_ ne 'json' && !defined $event->{$_} } keys %$event;
    $event = EventSource::XS::JSONText->with_texts($line, $event);
    $event->{channel} = $self->{channel} if !defined $event->{channel};
    $COMMAND->usage('no channel: neither in the line nor on the command line') if !defined $event->{channel};
    return $event;
}

# Begins to publish an event. This is the one place that publishes: several events travel before the first is answered. So if
# the connection breaks meanwhile, some are perhaps published, and those that were answered are.
sub _publish {
    my ($self, $event) = @_;
    my %event    = %$event;
    my $channel  = delete $event{channel};
    my $line     = delete $event{line};
    my $is_begun = eval { $self->{hub}->begin_publish($channel, \%event); 1 };
    die $@ if !$is_begun && !$COMMAND->is_broken($@);
    push @{$self->{begun}}, {channel => $channel, event => \%event, line => $line};
    $self->_collect if !$is_begun;
    return;
}

# Waits for the answers to all events that were begun, and prints the ids.
sub _collect {
    my $self    = shift;
    my @begun   = splice @{$self->{begun}};
    my $printed = '';
    while (@begun) {
        my @answers = eval { $self->{hub}->answers };
        if (!@answers) {
            $COMMAND->print($printed);
            die $@ if $@ && !$COMMAND->is_broken($@);
            my $was_sent = $COMMAND->exit_code($@) != 3;
            my $problem  = 'the hub has not answered: ' . @begun . ' event' . (@begun > 1 ? 's were' : ' was');
            EventSource::Error->throw(code => 'unknown', message => "$problem perhaps published")
                if !$self->{is_lines};
            $self->_report(4, "$problem perhaps published, from line $begun[0]{line} on") if $was_sent;
            my $connect = sub { $self->{hub} = $COMMAND->connect($self->{option}) };
            $COMMAND->connect_again('publish', $FIRST_PAUSE, $connect, sub { 0 });
            return if $was_sent;
            $printed = '';
            eval { $self->{hub}->begin_publish($_->{channel}, $_->{event}) for @begun; 1 }
                or $COMMAND->is_broken($@)
                or die $@;
            next;
        }
        for my $answer (@answers) {
            my $event = shift @begun;
            my $code  = defined $answer->{error} ? $COMMAND->exit_code_of($answer->{code}) : 0;
            $self->_report($code, (defined $event->{line} ? "line $event->{line}: " : '') . $answer->{error}) if $code;
            next if !defined $answer->{id};
            $self->{has_published} = 1;
            $printed .= $self->_shown($event, $answer->{id});
        }
    }
    $COMMAND->print($printed);
    return;
}

# WHATWG HTML, section 9.2.6: an event whose data is empty is not dispatched.
sub _warn_of_no_data {
    my ($self, $number) = @_;
    return if $self->{has_warned}++;
    $COMMAND->complain('publish',
        "line $number: the event has neither data nor json, so browsers show no event for it");
    return;
}

sub _shown {
    my ($self, $event, $id) = @_;
    my $option = $self->{option};
    return '' if $option->{quiet} || $option->{'no-wait'};
    return $option->{objects} ? $COMMAND->json({channel => $event->{channel}, id => $id}) . "\n" : "$id\n";
}

sub _report {
    my ($self, $code, $text) = @_;
    $COMMAND->complain('publish', $text);
    $self->{code} = $code if $code > $self->{code};
    return;
}

1;
