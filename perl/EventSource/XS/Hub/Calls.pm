package EventSource::XS::Hub::Calls;
use strict;
use warnings;

# All that a hub answers wherever it is asked: the methods that EventSource::Hub and EventSource::Hub::Process have in common. A
# subclass has _call, which is native: it takes the name of a call and texts, and returns texts (src/xs/calls.rs). It also has
# what it knows of the hub: name, gap_event, position_event, show_channel.

use EventSource::XS ();
use EventSource::XS::Hub::Member;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed);

my $SETTINGS     = EventSource::XS::Settings->new('EventSource::Hub');
my $MEMBER       = 'EventSource::XS::Hub::Member';
my $SUBSCRIPTION = 'EventSource::XS::Hub::Subscription';

my $MAX_METRICS = 100;    # channels and patterns: labels cost a monitor memory

# The numbers of a channel.
my @NUMBERS = qw(subscribers events bytes keys rate);

# Public methods

sub channels {
    my ($self, $given, $code) = @_;
    my $pattern = $SETTINGS->name(pattern => $given);
    my $from    = 0;
    while (length $from) {
        ($from, my @found) = $self->_call('channels', $pattern, $from);
        while (my ($name, @values) = splice @found, 0, @NUMBERS + 2) {
            my %channel = (name => $name, last_id => pop @values);
            @channel{@NUMBERS} = map { $_ + 0 } @values;
            $channel{rate} /= 3600;
            $code->(\%channel);
        }
    }
    return;
}

sub drain {
    my ($self, $seconds) = @_;
    $SETTINGS->refuse(seconds => 'drain takes a number of seconds') if !$SETTINGS->is_seconds($seconds);
    $self->_call('drain', "$seconds");
    return;
}

sub end {
    my ($self, @given) = @_;
    my ($labels, $topics, $finish) = $SUBSCRIPTION->options_of_end(@given);
    return $self->_call('end', $finish, (map { (label => $_) } @$labels), $SUBSCRIPTION->native_topics(@$topics)) + 0;
}

sub epoch { return scalar $_[0]->_call('epoch') }

sub forget {
    my ($self, $channel, $key, $event, @options) = @_;
    return $self->publish($channel, __PACKAGE__->forgetting($key, $event), @options);
}

# The event that tells streams that a key of the state is forgotten. Without data the native hub gives it the key.
sub forgetting {
    my ($class, $key, $event) = @_;
    $SETTINGS->refuse(event => 'forget takes the event as a hash of fields, such as {event => \'gone\'}')
        if defined $event && ref $event ne 'HASH';
    return {event => 'forget', %{$event || {}}, key => length($key // '') ? $key : undef, retain => 'forget'};
}

sub gap_event { return $_[0]{gap_event} }

sub history {
    my ($self, $channel, @given) = @_;
    my $name   = $MEMBER->channel_of($channel);
    my %option = $SETTINGS->options('history takes a channel and options', \@given, 'option %s of history', 'last');
    my $last   = $option{last};
    $SETTINGS->refuse(last => 'last must be a number of events from 1 on')
        if exists $option{last} && (!defined $last || ref $last || $last !~ /\A[1-9][0-9]{0,14}\z/);
    return $self->_logged($name, 0, $last // 0);
}

sub members {
    my ($self, $channel) = @_;
    my ($name, $from, @members) = ($MEMBER->channel_of($channel), '');
    do {
        ($from, my @found) = $self->_call('members', $name, $from);
        while (my @member = splice @found, 0, 5) { push @members, $MEMBER->info_of(@member) }
    } while length $from;
    return @members;
}

sub last_id { return scalar $_[0]->_call('last_id') }

sub members_count {
    my ($self, $channel) = @_;
    return $self->_call('count_members', $MEMBER->channel_of($channel)) + 0;
}

sub oldest {
    my ($self, $channel) = @_;
    my ($id,   $time)    = $self->_call('oldest', $MEMBER->channel_of($channel));
    return defined $id ? {id => $id, time => $time + 0} : undef;
}

sub openmetrics {
    my ($self, @topics) = @_;
    return scalar $self->_call('metrics', $self->{name}, $self->topics_of_metrics(\@topics));
}

sub position_event { return $_[0]{position_event} }

# A key that changes while it is read comes again in a later part. Two events, of the application and the hub, may have no key.
sub state {
    my ($self, $channel) = @_;
    my $name = $MEMBER->channel_of($channel);
    my %is_later;
    my @events =
        reverse grep { !$is_later{$_->{key} // "\0" . ($_->{event} // '')}++ } reverse $self->_logged($name, 1, 0);
    return @events;
}

# Without an error of the store, its text and its age are undefined.
sub stats {
    my $self   = shift;
    my $counts = EventSource::XS->counts_of($self->_call('count'));
    my $store  = $counts->{store};
    @$store{qw(last_error last_error_age)} = () if $store && !length $store->{last_error};
    return $counts;
}

sub subscribers {
    my $self = shift;         # a tied argument may free it
    my ($channel) = @_;
    return $self->_call('subscribers', $MEMBER->channel_of($channel)) + 0;
}

# The channels and patterns that metrics tell apart, as the native side takes them: pairs of a kind and a name.
sub topics_of_metrics {
    my ($self, $channels) = @_;
    return () if !defined $channels;
    my $elements = $SETTINGS->array(channels => $channels, 'channels and patterns');
    $SETTINGS->refuse(channels => "channels must be at most $MAX_METRICS: each costs the monitor memory")
        if @$elements > $MAX_METRICS;
    return map { _topic_of_metrics($_) } @$elements;
}

# Change the data of a member.
sub update_member {
    my ($self, $channel, $id, $change) = @_;
    return !!$self->_call('update_member', $MEMBER->change_of($channel, $id, $change));
}

# Private methods

# The events of a channel's history, at most so many of its last ones (0: all), or its state. The native hub gives them in
# parts, each after a number, through another (0: all that there are now): of each event the key, and the block that clients
# are sent.
sub _logged {
    my ($self, $name, $is_state, $last) = @_;
    my ($after, $through, @events) = (0, 0);
    do {
        ($after, $through, my @found) = $self->_call('log', $name, $is_state, $after, $through, $last);
        while (my ($key, $block) = splice @found, 0, 2) {
            my %lines;
            for my $line (split /\n/, $block) {
                last if $line eq '';    # the id of the hub follows one of the application
                my ($field, $value) = split /: ?/, $line, 2;
                push @{$lines{length $field ? $field : 'comment'}}, $value // '';
            }
            push @events, {length $key ? (key => $key) : (), map { ($_ => join "\n", @{$lines{$_}}) } keys %lines};
        }
        $last = 0;
    } while length $after;
    return @events;
}

sub _topic_of_metrics {
    my $topic = shift;
    return (pattern => $$topic) if blessed $topic && $topic->isa('EventSource::XS::Hub::Pattern');
    $SETTINGS->refuse(channels => 'a channel must be a string that is not empty')
        if !defined $topic || ref $topic || !length $topic;
    return (channel => EventSource::XS::Hub::Name->checked($SETTINGS, channels => 'a channel', $topic));
}

EventSource::XS->keep_errors(
    qw(channels drain end epoch forget history last_id members members_count oldest openmetrics state stats subscribers
        update_member)
);

1;
