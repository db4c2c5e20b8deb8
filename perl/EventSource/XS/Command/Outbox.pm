package EventSource::XS::Command::Outbox;
use strict;
use warnings;

# `eventsource outbox`: publishes what transactions have written into an outbox, until a signal ends it; and looks at the table.

use EventSource::XS::Command;
use EventSource::XS::Outbox::Database;

my $COMMAND = 'EventSource::XS::Command';

my @OPTIONS = qw(
    hub=s socket=s autostart! show-channel=s dsn=s user=s password-from=s table=s keep=f lease=f poll=f schema=s stats json openmetrics
    retry list drop
);

my $LISTED = 1000;    # rows that are read at once

# Public methods

# Code that connects. DBI is loaded here: other commands need none.
sub connector {
    my ($class, $option) = @_;
    die "an outbox needs the module DBI, and a driver for the database\n" if !eval { require DBI; 1 };
    my (undef, $driver) = DBI->parse_dsn($option->{dsn}) or $COMMAND->usage('--dsn is like dbi:Pg:dbname=shop');
    die "the driver DBD::$driver of --dsn is not installed\n" if !eval { DBI->install_driver($driver) };
    my $password  = $COMMAND->secret($option->{'password-from'}, 'EVENTSOURCE_OUTBOX_PASSWORD');
    my %attribute = (AutoCommit => 1, PrintError => 0, RaiseError => 1);
    return sub {
        EventSource::XS::Outbox::Database->commit_each(
            DBI->connect($option->{dsn}, $option->{user}, $password, {%attribute}));
    };
}

sub run {
    my ($class, @arguments) = @_;
    my @below  = _numbers_below_zero(\@arguments);
    my $option = $COMMAND->options('outbox', \@arguments, @OPTIONS);
    push @arguments, @below;
    my @ways = grep { $option->{$_} } qw(schema stats list retry drop);
    $COMMAND->usage("--$ways[0] or --$ways[1], not both") if @ways > 1;
    $COMMAND->usage("what is '$arguments[0]'?")           if @arguments && !$option->{retry} && !$option->{drop};
    $COMMAND->usage("--$ways[0] takes numbers of rows, not '$_'") for grep { !/\A-?[0-9]+\z/ } @arguments;
    $COMMAND->usage('which rows? --drop ROW ...') if $option->{drop} && !@arguments;
    my @forms = grep { $option->{$_} } qw(json openmetrics);
    $COMMAND->usage("--$forms[0] is for --stats")                  if @forms && !$option->{stats};
    $COMMAND->usage('--json and --openmetrics exclude each other') if @forms > 1;
    require EventSource::Outbox;
    return $class->_print_schema($option)                       if $option->{schema};
    $COMMAND->usage('which database? --dsn dbi:Pg:dbname=shop') if !defined $option->{dsn};
    my $outbox  = $class->_outbox($option);
    my $connect = $class->connector($option);
    return $class->_print_stats($outbox, $connect->(), $option)                                 if $option->{stats};
    return $COMMAND->print($outbox->retry($connect->(), @arguments) . "\n")                     if $option->{retry};
    return $outbox->look($connect->(), sub { $class->_list($_[0]) })                            if $option->{list};
    return $COMMAND->print($outbox->look($connect->(), sub { $_[0]->drop(@arguments) }) . "\n") if $option->{drop};
    my %given = map { defined $option->{$_} ? ($_ => $option->{$_}) : () } qw(keep lease poll);
    $outbox->run(%given, connect => $connect, report => sub { $COMMAND->complain('outbox', $_[0]) });
    return;
}

# Private methods and functions

# Takes the numbers of rows that look like options from the arguments: those behind --retry, --drop or no option.
sub _numbers_below_zero {
    my $arguments = shift;
    my (@numbers, @others);
    for my $argument (@$arguments) {
        my $may_be = @others && $others[-1] =~ /\A(?:--(?:r|dr)|[^-])/;
        push @{$argument =~ /\A-[0-9]+\z/ && $may_be ? \@numbers : \@others}, $argument;
    }
    @$arguments = @others;
    return @numbers;
}

sub _outbox {
    my ($class, $option) = @_;
    my %given  = $COMMAND->settings_of_hub($option);
    my %table  = defined $option->{table} ? (table => $option->{table}) : ();
    my $outbox = eval { EventSource::Outbox->new(hub => EventSource::Hub->new(%given), %table) };
    return $outbox || $COMMAND->usage($COMMAND->message_of($@));
}

sub _print_schema {
    my ($class, $option) = @_;
    my $table = EventSource::XS::Outbox::Database->table_of($option->{table}, sub { $COMMAND->usage(@_) });
    my @kinds = EventSource::XS::Outbox::Database->schemas;
    $COMMAND->usage("--schema takes one of: @kinds") if !grep { $_ eq $option->{schema} } @kinds;
    return $COMMAND->print(EventSource::XS::Outbox::Database->schema($option->{schema}, $table));
}

sub _print_stats {
    my ($class, $outbox, $dbh, $option) = @_;
    return $COMMAND->print($outbox->openmetrics($dbh)) if $option->{openmetrics};
    my $stats = $outbox->stats($dbh);
    my @lines = map { $COMMAND->line($_, defined $stats->{$_} ? $stats->{$_} : '-') } sort keys %$stats;
    return $COMMAND->print($option->{json} ? $COMMAND->json($stats) . "\n" : join '', @lines);
}

# The dead letters. Whatever SQL has written is shown.
sub _list {
    my ($class, $table) = @_;
    my $last;
    while (my @rows = $table->dead_letters($last, $LISTED)) {
        for my $row (@rows) {
            my @texts = map { defined $_ ? $_ : '' } @$row{qw(channel event_key problem)};
            utf8::decode($_) for @texts;
            $COMMAND->print($COMMAND->line($row->{id}, @texts));
        }
        $last = $rows[-1]{id};
    }
    return;
}

1;
