package Dashboard::Workers;
use strict;
use warnings;

# What each process of the server holds and has sent, told to all of them: a file for each, in a folder that they share. A
# process that died holds nothing, so a file counts as long as its process runs.

use EventSource::XS ();
use File::Glob      qw(bsd_glob);
use JSON::MaybeXS   ();

my $JSON = JSON::MaybeXS->new(utf8 => 1, canonical => 1);

sub new {
    my ($class, $folder) = @_;
    mkdir $folder or -d $folder or die "$folder: $!\n";
    return bless {folder => $folder}, $class;
}

# Public methods

# {pid, streams, events, bytes} of each process that runs, by pid.
sub all {
    my $self = shift;
    my @workers;
    for my $file (bsd_glob "$self->{folder}/*") {
        my ($pid) = $file =~ m{/([0-9]+)\z} or next;
        if    (!kill 0, $pid)             { unlink $file }
        elsif (open my $from, '<', $file) { push @workers, $JSON->decode(scalar readline $from) }
    }
    @workers = sort { $a->{pid} <=> $b->{pid} } @workers;
    return @workers;
}

# Tells what this process holds now.
sub record {
    my $self   = shift;
    my $stats  = EventSource::XS->stats;
    my $worker = {pid => $$, streams => $stats->{open}, map { ($_ => $stats->{$_}) } qw(events bytes)};
    my $file   = "$self->{folder}/$$";
    open my $to, '>', "$file.new" or die "$file.new: $!\n";
    print {$to} $JSON->encode($worker);
    close $to or die "$file.new: $!\n";
    rename "$file.new", $file or die "$file: $!\n";    # read whole by all, or not at all
    return;
}

1;
