# The demonstration: what this machine is doing, live, in a browser. Started by script/demo, or with any PSGI server:
#
#   plackup -s Starman --workers 10 examples/dashboard/app.psgi        each open page holds one worker
#   plackup -s Twiggy examples/dashboard/app.psgi                      an event loop, with AnyEvent
#
# DASHBOARD_STATE names a folder that the server's processes share; DASHBOARD_EVERY is the time between two figures, in
# seconds (1).

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use lib File::Spec->catdir(dirname(__FILE__), 'lib');

use Dashboard::Audience;
use Dashboard::Log;
use Dashboard::Machine;
use Encode        qw(decode);
use JSON::MaybeXS ();
use Plack::App::EventSource;
use Plack::Builder;
use Plack::Request;
use Time::HiRes qw(sleep time);

my $EVERY      = $ENV{DASHBOARD_EVERY} || 1;    # seconds between two figures
my $LOOK_EVERY = $EVERY / 4;                    # seconds between two looks at the log
my $TAIL       = 20;                            # lines of the log that a new page is sent

# Workers load this file one by one; what they have in common is their process group.
my $STATE = $ENV{DASHBOARD_STATE} || File::Spec->catdir(File::Spec->tmpdir, "dashboard-$<-" . getpgrp);
mkdir $STATE, 0700;
-d $STATE && -o _ or die "$STATE is no folder of mine\n";

my $json     = JSON::MaybeXS->new(utf8 => 1, canonical => 1);
my $log      = Dashboard::Log->new("$STATE/log");
my $audience = Dashboard::Audience->new("$STATE/viewers");

# Every stream ends when this file grows.
my $ENDINGS = "$STATE/endings";

my $events = Plack::App::EventSource->new(
    retry      => 1000,
    handler_cb => sub {
        my ($connection, $env) = @_;
        my $news = news($connection, $env->{'psgi.nonblocking'});
        if ($env->{'psgi.nonblocking'}) {
            require AnyEvent;
            my $timer;
            $timer = AnyEvent->timer(interval => $LOOK_EVERY, cb => sub { undef $timer if !$news->() });
        }
        else {
            sleep $LOOK_EVERY while $news->();
        }
    },
);

# What one viewer is told, as a sub to be called again and again while it returns true.
sub news {
    my ($connection, $is_loop) = @_;
    my $machine = Dashboard::Machine->new;
    my $seat    = $audience->join;
    my $lines   = $log->follow($connection->last_event_id, $TAIL);
    my $endings = -s $ENDINGS || 0;
    my $next    = time;
    $connection->push({event => 'server', data => $json->encode(about($machine, $is_loop))});
    return sub {
        for my $line ($lines->next_lines) {
            $connection->push({event => 'log', id => $line->[0], data => $line->[1]});
        }
        if (time >= $next) {
            $next += $EVERY;
            my $figures = {%{$machine->figures}, viewers => $audience->count};
            $connection->push({event => 'figures', data => $json->encode($figures)});
        }
        return 1 if $connection->is_open && (-s $ENDINGS || 0) == $endings;
        undef $seat;
        $connection->close;
        return 0;
    };
}

sub about {
    my ($machine, $is_loop) = @_;
    return {
        name       => $machine->name,
        processors => $machine->processors,
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
        return [405, ['Content-Type' => 'text/plain', Allow => 'POST'], ["POST only\n"]] if $request->method ne 'POST';
        return [403, ['Content-Type' => 'text/plain'], ["Only from the page itself\n"]] if is_foreign($request);
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
    return [404, ['Content-Type' => 'text/plain'], ["Not found\n"]] if !exists $FILE{$name};
    my @headers = (
        'Content-Type'            => $TYPE{$name},
        'Content-Length'          => length $FILE{$name},
        'Cache-Control'           => 'no-cache',
        'Content-Security-Policy' => "default-src 'self'; img-src 'self' data:",
    );
    return [200, \@headers, [$FILE{$name}]];
}

builder {
    enable 'AccessLog', format => '%r %>s', logger => sub { $log->append($_[0]) };
    mount '/events' => $events;
    mount '/log'    => $write;
    mount '/end'    => $end;
    mount '/'       => \&page;
};
