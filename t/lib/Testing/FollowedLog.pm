package Testing::FollowedLog;
use Testing;

# The events of a named hub, as `eventsource tail --from-start` reads them, without a process for each look.
#
#   my @events = followed($hub->process, 3, 'news', 'more/*');    # hashes of channel, event, id and data

use EventSource::XS::Hub::Name;
use Exporter   qw(import);
use IO::Select ();

our @EXPORT_OK = qw(followed);

# The seconds without a byte after which fewer events are returned, and those after which no other event comes.
my ($SILENCE, $NO_OTHER) = (5, 0.1);

# Reads topics from their oldest event on, until so many events have come and no other one comes.
sub followed {
    my ($process, $count, @topics) = @_;
    @topics = map { /[*]/ ? EventSource::XS::Hub::Name->pattern($_) : $_ } @topics;
    my $stream = $process->follow(@topics, {start => 'oldest'});
    my $select = IO::Select->new($stream->socket);
    my @events;

    while ($select->can_read(@events < $count ? $SILENCE : $NO_OTHER)) {
        my $new = $stream->read or last;
        push @events, grep { !$_->{is_gap} } @$new;
    }
    return @events;
}

1;
