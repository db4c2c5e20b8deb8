# The application of one of several machines (t/lib/Testing/Machine.pm): streams of a hub in a process of its own with a store,
# and paths that publish and report. The environment has the settings of the hub as JSON.
#
#   /hub?channels=a,b&patterns=c.*     a stream; with labels=l,m its labels
#   /member?id=ann&channels=...        a stream with this member of people, which lingers for 2 seconds; with count=lobby one
#                                      that is counted there, and does not; leave_after=3 is another time, bytes=99 the size of
#                                      its data
#   /state?channels=...                a stream that begins with the state; its position is an event
#   /will?channels=...                 a stream whose will is the event gone of the channel wills
#   /end?label=l&finish=1              ends streams, and answers with their number on this machine
#   /publish?channel=a&data=hello      publishes an event with the other fields of the query, or with forget=KEY forgets that
#                                      key, and answers with its id, or with error and the code of the exception
#   /job?...                           the same in a forked process
#   /burst?channel=a&count=9&bytes=99  publishes so many events without waiting, with their numbers and some filling as data;
#                                      then answers as /stats does
#   /stats                             the counters of the hub, as JSON

use Testing::Application qw(answer id_or_error in_job query);
use EventSource::Hub;
use JSON::PP ();
use Plack::App::EventSource;
use Plack::Builder;

my $JSON = JSON::PP->new->canonical;
my $hub  = EventSource::Hub->new(%{$JSON->decode($ENV{HUB_SETTINGS})});

sub topics {
    my %query = query(shift);
    return (split(/,/, $query{channels} // ''), map { EventSource::Hub->pattern($_) } split /,/,
        $query{patterns} // '');
}

sub labels {
    my %query = query(shift);
    return split /,/, $query{labels} // '';
}

sub member {
    my %query  = query(shift);
    my %member = (id => $query{id}, defined $query{bytes} ? (json => {x => 'x' x $query{bytes}}) : ());
    return {%member, channel => 'people', leave_after => $query{leave_after} // 2} if !defined $query{count};
    return {%member, channel => $query{count}, join => 'count', leave_after => $query{leave_after} // 0};
}

sub publish {
    my %event  = @_;
    my %option = map { defined $event{$_} ? ($_ => delete $event{$_}) : () } qw(once);
    my $forget = delete $event{forget};
    return id_or_error(sub { $hub->forget($event{channel}, $forget) }) if defined $forget;
    return id_or_error(sub { $hub->publish(delete $event{channel}, \%event, \%option) });
}

sub burst {
    my %burst = @_;
    for my $number (1 .. $burst{count}) {
        $hub->publish($burst{channel}, {data => "$number:" . 'x' x $burst{bytes}}, {wait => 0});
    }
    return $JSON->encode($hub->stats);
}

builder {
    mount '/hub'    => $hub->to_app(channels => \&topics, label  => \&labels);
    mount '/state'  => $hub->to_app(channels => \&topics, start  => 'state');
    mount '/member' => $hub->to_app(channels => \&topics, member => \&member);
    mount '/will' => Plack::App::EventSource->new(
        handler_cb => sub { $hub->subscribe($_[0], topics($_[1]), {will => [wills => 'gone']}) })->to_app;
    mount '/end' => sub {
        return answer(eval { $hub->end(query($_[0])) } // "error $@");
    };
    mount '/publish' => sub { return answer(publish(query($_[0]))) };
    mount '/burst'   => sub { return answer(burst(query($_[0]))) };
    mount '/job'     => sub {
        my @event = query($_[0]);
        return answer(in_job(sub { publish(@event) }));
    };
    mount '/stats' => sub { return answer($JSON->encode($hub->stats)) };
};
