# The progress of long jobs. A job is a process of its own; it publishes by HTTP. Both know the same JOB_SECRET.
use strict;
use warnings;

use Digest::SHA qw(sha256);
use EventSource::Hub;
use Plack::App::EventSource::PubSub;
use Plack::Builder;

my $SECRET = $ENV{JOB_SECRET} || die "JOB_SECRET is not set\n";

# A page that opens late, or again, first receives all that its job has reported. With several workers: name => 'jobs'
# instead of per_process => 1.
my $hub = EventSource::Hub->new(per_process => 1, start => 'oldest', keep_history => {events => 200, seconds => 3600});

# The digests make the time of the comparison independent of the secret.
sub is_job { return sha256($_[0]{HTTP_X_JOB_SECRET} // '') eq sha256($SECRET) }

builder {
    mount '/jobs' => Plack::App::EventSource::PubSub->new(
        hub       => $hub,
        authorize => sub { my ($env, $action) = @_; return $action eq 'subscribe' || is_job($env) },
    )->to_app;
};
