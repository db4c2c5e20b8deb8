# A program that closes all descriptors without a fork, as those do that become daemons, and may open others: its log says so
# once, its hubs begin anew, and nothing of the module closes the files that have the numbers now.

use lib 't/lib';
use Testing                    qw(named_hubs);
use Testing::ControlledProcess qw(output_of);

# Prints the ids of a publish before and of two after, an error in the place of an id, and whether all files are open still.
my $PROGRAM = <<'END';
use strict;
use warnings;
use EventSource::Hub;
use POSIX ();
$| = 1;
my ($files, %setting) = @ARGV;
my $hub     = EventSource::Hub->new(%setting);
my $publish = sub { eval { $hub->publish(news => 'x') } || $@ =~ s/\n.*//sr };
my @ids     = $publish->();
POSIX::close($_) for 3 .. 255;
my @open = map { open my $file, '<', '/dev/null' or die $!; $file } 1 .. $files;
push @ids, $publish->() for 1 .. 2;
eval { $hub->stats };    # a reactor that is lost is known to be at the latest when it does not answer
print "$_\n" for @ids, scalar grep { -c $_ } @open;
END

sub run {
    my @arguments = @_;
    my ($status, $said) = output_of($^X, (map { "-I$_" } @INC), '-e', $PROGRAM, @arguments);
    is $status, 0, 'the program ends by itself';
    return split /^/, $said;
}

for my $files (0, 20) {
    subtest "a named hub, $files files opened" => sub {
        my $folder  = new_folder;
        my @lines   = run($files, name => 'closed', socket => "$folder/hub.sock", publish_timeout => 5, idle_exit => 2);
        my @reasons = grep { /closed all descriptors/ } @lines;
        is @reasons, 1, 'one line says what has happened' or diag @lines;
        my ($first, @later) = grep { !/closed all descriptors/ } @lines;
        my ($epoch) = $first =~ /\A(\w+)-1$/ or return fail "no id: $first";
        is_deeply \@later, ["$epoch-2\n", "$epoch-3\n", "$files\n"], 'events are published, and the files are open';
    };
}

subtest 'a hub of the process' => sub {
    my @lines = run(0);
    is grep({ /closed all descriptors/ } @lines), 1, 'one line says what has happened' or diag @lines;
    is grep({ /\A\w+-\d+$/ } @lines),             3, 'and events are published';
};

done_testing;
