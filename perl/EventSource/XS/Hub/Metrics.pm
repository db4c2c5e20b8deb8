package EventSource::XS::Hub::Metrics;
use strict;
use warnings;

# The metrics of a hub for a monitor. The list of metrics and the text are in src/metrics.rs, who may read them in
# EventSource::XS::MetricsApp; here is which channels are told apart.
#
# "metrics_app" in EventSource::Hub has the manual.

use EventSource::XS::Hub::Name;
use EventSource::XS::MetricsApp;
use EventSource::XS::Settings;
use Scalar::Util qw(blessed);

my $SETTINGS = EventSource::XS::Settings->new('EventSource::Hub');

my $MAX_TOPICS = 100;    # labels cost a monitor memory

# Public methods

sub app {
    my ($class, $hub, @given) = @_;
    my %given = $SETTINGS->parse('metrics_app takes options', @given);
    $SETTINGS->known(\%given, [qw(allow channels hosts token)], 'option %s of metrics_app');
    my @topics = $class->topics($given{channels});
    return EventSource::XS::MetricsApp->new($SETTINGS, \%given,
        sub { scalar $hub->_call('metrics', $hub->{name}, @topics) });
}

# The channels and patterns of an option, as the native side takes them: pairs of a kind and a name.
sub topics {
    my ($class, $channels) = @_;
    return () if !defined $channels;
    my $elements = $SETTINGS->array(channels => $channels, 'channels and patterns')
        or $SETTINGS->refuse(channels => 'channels must be an array of channels and patterns');
    $SETTINGS->refuse(channels => "channels must be at most $MAX_TOPICS: each costs the monitor memory")
        if @$elements > $MAX_TOPICS;
    return map { _topic($_) } @$elements;
}

# Private functions

sub _topic {
    my $topic = shift;
    return (pattern => $$topic) if blessed $topic && $topic->isa('EventSource::XS::Hub::Pattern');
    $SETTINGS->refuse(channels => 'a channel must be a string that is not empty')
        if !defined $topic || ref $topic || !length $topic;
    return (channel => EventSource::XS::Hub::Name->checked($SETTINGS, channels => 'a channel', $topic));
}

1;
