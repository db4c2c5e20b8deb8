# The demonstration: what this machine is doing, live, in a browser. Started by script/demo, or with any PSGI server:
#
#   plackup -s Twiggy examples/dashboard/app.psgi                      an event loop, with AnyEvent
#   plackup -s Starman --workers 10 examples/dashboard/app.psgi        each open page holds one worker
#
# A worker that blocks has no timer. So with DASHBOARD_TICKER, a secret that it shares with the program `ticker` beside
# this file, it only keeps its viewers, thousands if need be, and is free; at each tick it tells them what is new. Without
# it the handler stays and tells its one viewer.
#
# DASHBOARD_STATE names a folder that the server's processes share, and the crowd; DASHBOARD_EVERY is the time between two
# figures, in seconds (1).

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use lib File::Spec->catdir(dirname(__FILE__), 'lib');

use Dashboard::Figures;
use Dashboard::Log;
use Dashboard::Machine;
use Dashboard::Workers;
use Encode          qw(decode);
use EventSource::XS ();
use JSON::MaybeXS   ();
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;
use Time::HiRes qw(sleep);

my $EVERY        = $ENV{DASHBOARD_EVERY} || 1;    # seconds between two figures
my $LOOK_EVERY   = $EVERY / 4;                    # seconds between two looks at the log
my $TAIL         = 20;                            # lines of the log that a new page is sent
my $CROWD_WITHIN = 5;                             # seconds after which a crowd that says nothing is gone
my $TICKER       = $ENV{DASHBOARD_TICKER};

# Workers may load this file one by one; what they have in common is their process group.
my $STATE = $ENV{DASHBOARD_STATE} || File::Spec->catdir(File::Spec->tmpdir, "dashboard-$<-" . getpgrp);
mkdir $STATE, 0700;
-d $STATE && -o _ or die "$STATE is no folder of mine\n";

my $json    = JSON::MaybeXS->new(utf8 => 1, canonical => 1);
my $log     = Dashboard::Log->new("$STATE/log");
my $workers = Dashboard::Workers->new("$STATE/workers");
my $figures = Dashboard::Figures->new($workers, $EVERY);

# Every stream ends when this file grows.
my $ENDINGS = "$STATE/endings";

# The viewers whom this worker tells what is new when the ticker comes by: a sub for each.
my %viewers;

my $events = Plack::App::EventSource->new(
    retry      => 1000,
    handler_cb => sub {
        my ($connection, $env) = @_;
        my $news = news($connection, $env->{'psgi.nonblocking'});
        $connection->on_close(sub { $workers->record });
        if    ($env->{'psgi.nonblocking'})                { tell_by_timer($news) }
        elsif (defined $TICKER && $connection->is_native) { keep($connection, $news) }
        else                                              { sleep $LOOK_EVERY while $news->() }
    },
);

sub keep {
    my ($connection, $news) = @_;
    my $key = "$connection";
    $viewers{$key} = $news;    # which holds the connection
    $connection->on_close(sub { delete $viewers{$key} });
    return;
}

sub tell_by_timer {
    my $news = shift;
    require AnyEvent;
    my $timer;
    $timer = AnyEvent->timer(interval => $LOOK_EVERY, cb => sub { undef $timer if !$news->() });
    return;
}

# What one viewer is told, as a sub to be called again and again while it returns true.
sub news {
    my ($connection, $is_loop) = @_;
    my $endings = -s $ENDINGS || 0;
    my $line    = $log->place_after($connection->last_event_id, $TAIL);
    my $figure  = 0;
    $connection->push({event => 'server', data => $json->encode(about($is_loop))});
    return sub {
        for my $entry ($log->lines_after($line)) {
            ($line, my $text) = @$entry;
            $connection->push({event => 'log', id => $line, data => $text});
        }
        my ($number, $latest) = $figures->latest;
        if ($number != $figure) {
            $figure = $number;
            $connection->push({event => 'figures', data => $latest});
        }
        return 1 if $connection->is_open && (-s $ENDINGS || 0) == $endings;
        $connection->close;
        return 0;
    };
}

sub about {
    my $is_loop = shift;
    return {
        name       => Dashboard::Machine->name,
        processors => Dashboard::Machine->processors,
        pid        => $$,
        manner     => $is_loop ? 'event loop' : 'blocking worker',
        system     => $^O,
        perl       => sprintf('%vd', $^V),
    };
}

# What the page asks the server to do.

my $write = posted(
    sub {
        my $text = shift->raw_body;
        $log->append('NOTE ' . substr decode('UTF-8', $text), 0, 200);
    }
);
my $end = posted(
    sub {
        open my $endings, '>>', $ENDINGS or die "$ENDINGS: $!\n";
        syswrite $endings, '.';
    }
);

sub posted {
    my $action = shift;
    return sub {
        my $request = Plack::Request->new(shift);
        return refusal(405, 'POST only', Allow => 'POST') if $request->method ne 'POST';
        return refusal(403, 'Only from the page itself') if is_foreign($request);
        $action->($request);
        return [204, [], []];
    };
}

# Browsers say which page a request comes from, and only ours may ask for something to be done.
sub is_foreign {
    my $request = shift;
    my ($origin, $host) = map { scalar $request->header($_) } qw(Origin Host);
    return defined $origin && $origin !~ m{\Ahttps?://\Q$host\E\z};
}

sub refusal {
    my ($status, $why, @headers) = @_;
    return [$status, ['Content-Type' => 'text/plain', @headers], ["$why\n"]];
}

# The ticker comes by: it is told who has answered, and who else should.
sub tick {
    my $request = Plack::Request->new(shift);
    return refusal(405, 'POST only', Allow => 'POST') if $request->method ne 'POST';
    my $secret = $request->header('X-Ticker');
    return refusal(403, 'Only the ticker may tick') if !defined $TICKER || !defined $secret || $secret ne $TICKER;
    EventSource::XS->dispatch;    # who has left is told nothing any more
    $figures->latest;             # what this worker holds is told, whether or not it is anything
    for my $key (keys %viewers) { delete $viewers{$key} if !$viewers{$key}->() }
    return answer({pid => $$, holds => scalar keys %viewers, workers => [map { $_->{pid} } $workers->all]});
}

# What the crowd says about itself (see `crowd`), if there is one: the page's ordinary request.
sub crowd {
    my $said = '{}';
    if (open my $file, '<:raw', "$STATE/crowd") {
        my $age = time - (stat $file)[9];
        $said = readline $file if $age < $CROWD_WITHIN;
    }
    return answer($said);
}

sub answer {
    my $answer  = shift;
    my $bytes   = ref $answer ? $json->encode($answer) : $answer;
    my @headers = (
        'Content-Type'   => 'application/json',
        'Content-Length' => length $bytes,
        'Cache-Control'  => 'no-store',
        'X-Worker'       => $$
    );
    return [200, \@headers, [$bytes]];
}

# The page and what belongs to it.

my %TYPE = (
    'index.html'   => 'text/html; charset=utf-8',
    'dashboard.js' => 'text/javascript; charset=utf-8',
    'style.css'    => 'text/css; charset=utf-8',
);
my %FILE = map { ($_ => content_of($_)) } keys %TYPE;

sub content_of {
    my $path = File::Spec->catfile(dirname(__FILE__), 'public', shift);
    open my $file, '<:raw', $path or die "$path: $!\n";
    local $/;
    return scalar readline $file;
}

sub page {
    my $env  = shift;
    my $name = $env->{PATH_INFO} eq '/' ? 'index.html' : substr $env->{PATH_INFO}, 1;
    return refusal(404, 'Not found') if !exists $FILE{$name};
    my @headers = (
        'Content-Type'            => $TYPE{$name},
        'Content-Length'          => length $FILE{$name},
        'Cache-Control'           => 'no-cache',
        'Content-Security-Policy' => "default-src 'self'; img-src 'self' data:",
    );
    return [200, \@headers, [$FILE{$name}]];
}

# What comes by some times a second, or some hundred times at once, would leave nothing else to see in the log.
sub is_worth_a_line {
    my $env = shift;
    return $env->{PATH_INFO} !~ m{\A/(?:tick|crowd)\z} && ($env->{HTTP_USER_AGENT} // '') !~ /\Acrowd\b/;
}

builder {
    enable_if { is_worth_a_line($_[0]) } 'AccessLog', format => '%r %>s', logger => sub { $log->append($_[0]) };
    mount '/events' => $events;
    mount '/log'    => $write;
    mount '/end'    => $end;
    mount '/tick'   => \&tick;
    mount '/crowd'  => \&crowd;
    mount '/'       => \&page;
};
